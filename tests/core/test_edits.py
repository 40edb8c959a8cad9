"""What clients write on an image: drafts, patches and tags."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imaged.core.access import Caller
from imaged.core.attributes import ATTRIBUTES, Writable
from imaged.core.edits import Action, Operation, add_tag, apply, describe, new_image, remove_tag
from imaged.core.errors import (
    ClaimLost,
    ImagedError,
    InvalidAttribute,
    NotPermitted,
    PropertyConflict,
    ReadOnlyAttribute,
    TagNotFound,
    TooMany,
)
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import Status
from support.callers import ADMIN
from support.sample_images import (
    IMAGE_ID,
    active,
    attempt_at,
    claim,
    draft,
    in_status,
    location,
    queued,
)

MEMBER = Caller("u1", "p1", frozenset({"member"}))
GIVEN_ID = "AAAAAAAA-0000-4000-8000-000000000001"
READ_ONLY = [name for name, row in ATTRIBUTES.items() if row.writable is Writable.NEVER]


def add(name: str, value: object) -> Operation:
    """Add or replace."""
    return Operation(Action.ADD, name, value)


def put(name: str, value: object) -> Operation:
    """Replace."""
    return Operation(Action.REPLACE, name, value)


def remove(name: str) -> Operation:
    """Remove."""
    return Operation(Action.REMOVE, name)


def with_property(name: str = "k") -> Image:
    """A queued image with one property."""
    return replace(queued(), properties={name: "v"})


def test_draft_of_nothing_has_the_defaults() -> None:
    """An image that is not described at all is shared, queued and its creator's."""
    image = new_image(MEMBER, IMAGE_ID, {})
    assert image == Image(id=IMAGE_ID, owner="p1")
    assert image.visibility is Visibility.SHARED


def test_draft_takes_everything() -> None:
    """All that a client may write arrives, and what is no attribute is a property."""
    image = new_image(
        MEMBER,
        IMAGE_ID,
        {
            "id": GIVEN_ID,
            "name": "n",
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "private",
            "protected": True,
            "os_hidden": True,
            "min_ram": 1,
            "min_disk": 2,
            "owner": "p1",
            "tags": ["a", "a"],
            "os_distro": "debian",
        },
    )
    assert image == Image(
        id=GIVEN_ID.lower(),
        owner="p1",
        name="n",
        disk_format="raw",
        container_format="bare",
        visibility=Visibility.PRIVATE,
        protected=True,
        hidden=True,
        min_ram_mib=1,
        min_disk_gib=2,
        tags=("a",),
        properties={"os_distro": "debian"},
    )


RESERVED = ["location", "deleted", "os_glance_x", "imaged_x", "os_hash_x"]


@pytest.mark.parametrize("name", [*READ_ONLY, *RESERVED])
def test_read_only_and_reserved_names_are_never_written(name: str) -> None:
    """They are refused in every way, also where they are not there."""
    with pytest.raises(ReadOnlyAttribute, match=name):
        new_image(ADMIN, IMAGE_ID, {name: "x"})
    for operation in (add(name, "x"), put(name, "x"), remove(name)):
        with pytest.raises(ReadOnlyAttribute, match=name):
            apply(ADMIN, queued(), [operation])


@pytest.mark.parametrize("name", [name for name in ATTRIBUTES if name not in READ_ONLY])
def test_attributes_are_never_removed(name: str) -> None:
    """What every image has stays."""
    with pytest.raises(ReadOnlyAttribute, match=name):
        apply(ADMIN, queued(), [remove(name)])


def test_owner_and_public_are_for_administrators() -> None:
    """A member neither gives an image away nor makes it public; an administrator does."""
    for attributes in ({"owner": "p2"}, {"visibility": "public"}):
        with pytest.raises(NotPermitted):
            new_image(MEMBER, IMAGE_ID, attributes)
        (pair,) = attributes.items()
        with pytest.raises(NotPermitted):
            apply(MEMBER, queued(), [put(*pair)])
    image = new_image(ADMIN, IMAGE_ID, {"owner": "p2", "visibility": "public"})
    assert (image.owner, image.visibility) == ("p2", Visibility.PUBLIC)
    assert apply(ADMIN, queued(), [put("owner", "p2")]).owner == "p2"


def test_member_may_name_his_own_project_when_he_creates() -> None:
    """To say what is true anyway is allowed once."""
    assert new_image(MEMBER, IMAGE_ID, {"owner": "p1"}).owner == "p1"
    with pytest.raises(NotPermitted):
        apply(MEMBER, queued(), [put("owner", "p1")])


def test_id_is_chosen_once() -> None:
    """The id of an image cannot change."""
    with pytest.raises(ReadOnlyAttribute, match="id"):
        apply(ADMIN, queued(), [put("id", GIVEN_ID)])


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(("name", "value"), [("disk_format", "iso"), ("container_format", "ova")])
def test_formats_are_frozen_by_data(status: Status, name: str, value: str) -> None:
    """Formats change while the image is queued, importing or holds staged data alone."""
    image = in_status(status)
    if status in {Status.QUEUED, Status.IMPORTING}:
        assert getattr(apply(MEMBER, image, [put(name, value)]), name) == value
        return
    with pytest.raises(ReadOnlyAttribute, match=name):
        apply(MEMBER, image, [put(name, value)])


def test_formats_of_staged_data_are_corrected_before_its_import() -> None:
    """Once it is there; while it is being sent they are frozen, as in an upload."""
    waiting = replace(in_status(Status.UPLOADING), claim=None)

    assert apply(MEMBER, waiting, [put("disk_format", "iso")]).disk_format == "iso"


def test_properties_come_change_and_go() -> None:
    """Add, replace and remove do what they say, in order."""
    steps = [add("a", "1"), put("a", "2"), add("b", "3"), add("b", "4"), remove("k")]
    assert apply(MEMBER, with_property(), steps).properties == {"a": "2", "b": "4"}


@pytest.mark.parametrize(
    "operation",
    [
        put("absent", "v"),
        remove("absent"),
        Operation(Action.ADD_ABSENT, "k", "v"),
        Operation(Action.ADD_ABSENT, "name", "v"),
    ],
)
def test_conflicting_operation_is_refused(operation: Operation) -> None:
    """What needs a property that is not there is a conflict, and the other way round."""
    with pytest.raises(PropertyConflict, match=operation.name):
        apply(MEMBER, with_property(), [operation])


def test_first_patch_format_adds_what_is_absent() -> None:
    """Adding what is not there is no conflict."""
    image = apply(MEMBER, queued(), [Operation(Action.ADD_ABSENT, "k", "v")])
    assert image.properties == {"k": "v"}


def test_patch_that_changes_nothing_returns_the_very_image() -> None:
    """So that nothing is written, and the moment of the last change stays."""
    image = replace(with_property(), name="n")
    assert apply(MEMBER, image, []) is image
    assert apply(MEMBER, image, [put("name", "n"), add("k", "v")]) is image


def test_refused_patch_leaves_the_image_alone() -> None:
    """A wrong last step undoes all the others."""
    image = with_property()
    with pytest.raises(InvalidAttribute):
        apply(MEMBER, image, [remove("k"), put("name", "n"), put("min_ram", -1)])
    assert image == with_property()


def test_number_of_properties_is_limited_at_the_end() -> None:
    """What counts is how many there are after the whole patch."""
    many = {f"k{number}": "v" for number in range(128)}
    image = new_image(MEMBER, IMAGE_ID, many)
    with pytest.raises(TooMany):
        new_image(MEMBER, IMAGE_ID, {**many, "one more": "v"})
    with pytest.raises(TooMany):
        apply(MEMBER, image, [add("one more", "v")])
    assert len(apply(MEMBER, image, [add("one more", "v"), remove("k0")]).properties) == 128


def test_only_written_attributes_change() -> None:
    """A patch of an active image keeps its data and its place in life."""
    before = active()
    assert apply(MEMBER, before, [put("name", "n")]) == replace(before, name="n")


@pytest.mark.rule("claims.1")
def test_a_draft_is_described_by_the_holder_of_its_claim() -> None:
    """With what became known after the work began. Its owner stays."""
    begun = attempt_at(location())(draft(), claim())
    model = replace(queued(owner="p9"), name="n", min_ram_mib=7, tags=("t",), properties={"k": "v"})

    described = describe(model)(begun, claim())

    assert described == replace(begun, name="n", min_ram_mib=7, tags=("t",), properties={"k": "v"})
    with pytest.raises(ClaimLost):
        describe(model)(begun, claim(2))


def test_tags_are_unique_and_keep_their_order() -> None:
    """A tag that is there already changes nothing."""
    image = replace(queued(), tags=("b", "a"))
    assert add_tag("a")(image) is image
    assert add_tag("c")(image).tags == ("b", "a", "c")
    assert remove_tag("b")(image).tags == ("a",)


def test_tag_refusals() -> None:
    """One tag too many, a tag that is not there, and a tag that is no line are refused."""
    full = replace(queued(), tags=tuple(f"t{number}" for number in range(128)))
    assert add_tag("t0")(full) is full
    refused = [(add_tag("more"), TooMany), (remove_tag("x"), TagNotFound)]
    for change, error in [*refused, (add_tag("a\n"), InvalidAttribute)]:
        kind: type[ImagedError] = error
        with pytest.raises(kind):
            change(full)
