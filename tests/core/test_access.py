"""Rights to see and change images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from imaged.core.access import (
    is_owner,
    may_see,
    permits,
    permitted_change,
    permitted_claim,
    require_change,
    require_permitted,
    require_readable,
    require_visibility,
    require_visible,
)
from imaged.core.deletion import deactivate
from imaged.core.errors import DataForbidden, ImageNotFound, NotPermitted
from imaged.core.history import Actor, HistoryEntry, ImageHistory
from imaged.core.history_access import history_as_seen_by, require_history
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import GONE, Status
from imaged.core.policy import Policy
from imaged.core.policy_rules import Rule
from imaged.core.uploading import begin_upload
from support.callers import ADMIN, OWNER, READER, STRANGER
from support.sample_images import NOW, active, claim, draft, in_status, location, queued

CALLERS = {"admin": ADMIN, "owner": OWNER, "reader": READER, "stranger": STRANGER}
OPEN = {"community", "public"}
OWN = "project_id:%(owner)s"


def _image(visibility: Visibility, status: Status = Status.ACTIVE) -> Image:
    return replace(in_status(status), visibility=visibility)


@pytest.mark.parametrize(
    ("name", "visibility", "status"), list(product(CALLERS, Visibility, Status))
)
def test_visible_images_of_each_caller(name: str, visibility: Visibility, status: Status) -> None:
    """Owners and admins see theirs, all see open images, and deleted ones are invisible."""
    image = _image(visibility, status)
    is_open = name != "stranger" or visibility in OPEN
    sees = is_open and status not in {"pending_delete", "deleted"}

    assert may_see(CALLERS[name], image) is sees
    if sees:
        assert require_visible(CALLERS[name], image) is image
    else:
        with pytest.raises(ImageNotFound):
            require_visible(CALLERS[name], image)


@pytest.mark.parametrize(("name", "status"), list(product(CALLERS, Status)))
def test_who_may_read_the_history(name: str, status: Status) -> None:
    """All that see the image; of a deleted one its project and admins."""
    image = _image(Visibility.PUBLIC, status)

    if name == "stranger" and status in GONE:
        with pytest.raises(ImageNotFound):
            require_history(CALLERS[name], image)
    else:
        assert require_history(CALLERS[name], image) is image


@pytest.mark.parametrize("name", CALLERS)
def test_a_draft_shows_no_history(name: str) -> None:
    """It does not exist yet, also when its task has failed."""
    for image in (draft(), replace(draft(), status=Status.DELETED)):
        with pytest.raises(ImageNotFound):
            require_history(CALLERS[name], image)


@pytest.mark.parametrize("name", CALLERS)
def test_what_each_caller_sees_of_the_history(name: str) -> None:
    """Addresses are for admins; users and details for the owner's project too."""
    actor = Actor("ann", "p1", "203.0.113.7", "req-1")
    entry = HistoryEntry(1, NOW, "deleted", actor, {"size_bytes": 1})
    seen = history_as_seen_by(CALLERS[name], ImageHistory(active(), [entry]))

    expected = {
        "admin": entry,
        "owner": replace(entry, actor=replace(actor, peer=None)),
        "reader": replace(entry, actor=replace(actor, peer=None)),
        "stranger": replace(entry, actor=Actor(), details={}),
    }
    assert list(seen.entries) == [expected[name]]


@pytest.mark.parametrize(("name", "writes"), [("admin", 1), ("owner", 1), ("reader", 0)])
def test_readers_may_not_write(name: str, writes: int) -> None:
    """A role that only reads changes nothing."""
    if writes:
        require_change(CALLERS[name])
    else:
        with pytest.raises(NotPermitted):
            require_change(CALLERS[name])


@pytest.mark.parametrize(("name", "visibility"), list(product(CALLERS, Visibility)))
def test_only_owners_and_admins_may_change_an_image(name: str, visibility: Visibility) -> None:
    """Its owner and admins; to a stranger it does not exist, or is not permitted."""
    image = _image(visibility)

    if name in {"admin", "owner"}:
        assert require_permitted(CALLERS[name], Rule.MODIFY_IMAGE, image) is image
    else:
        hidden = name == "stranger" and visibility not in OPEN
        with pytest.raises(ImageNotFound if hidden else NotPermitted):
            require_permitted(CALLERS[name], Rule.MODIFY_IMAGE, image)


def test_a_caller_without_roles_changes_nothing() -> None:
    """Belonging to the project is not enough; not even its images exist for it."""
    without_roles = replace(OWNER, roles=frozenset())
    with pytest.raises(NotPermitted):
        require_change(without_roles)
    with pytest.raises(ImageNotFound):
        require_permitted(without_roles, Rule.MODIFY_IMAGE, active())


@pytest.mark.parametrize("name", CALLERS)
def test_only_admins_read_deactivated_data(name: str) -> None:
    """All members that see the image; only admins if it is deactivated."""
    image = _image(Visibility.PUBLIC)
    if name == "reader":
        with pytest.raises(NotPermitted, match="data needs the role 'member'"):
            require_readable(READER, image)
    else:
        assert require_readable(CALLERS[name], image) is image

    if name == "admin":
        assert require_readable(ADMIN, deactivate(image)).status is Status.DEACTIVATED
    else:
        with pytest.raises(DataForbidden):
            require_readable(CALLERS[name], deactivate(image))


def test_the_data_of_an_image_that_is_not_seen_does_not_exist() -> None:
    """Not seen comes before forbidden, so that nothing is given away."""
    with pytest.raises(ImageNotFound):
        require_readable(STRANGER, deactivate(_image(Visibility.PRIVATE)))


def test_a_change_by_its_owner_is_made() -> None:
    """The decision and the change are made on the same record."""
    assert (
        permitted_change(OWNER, Rule.DEACTIVATE, deactivate)(active()).status is Status.DEACTIVATED
    )
    begin = permitted_claim(OWNER, Rule.UPLOAD_IMAGE, begin_upload(location()))
    assert begin(queued(), claim()).claim == claim()


@pytest.mark.parametrize(
    "attempt",
    [
        permitted_change(STRANGER, Rule.DEACTIVATE, deactivate),
        lambda image: permitted_claim(STRANGER, Rule.UPLOAD_IMAGE, begin_upload(location()))(
            image, claim()
        ),
    ],
)
def test_a_change_by_a_stranger_is_not_made(attempt: Callable[[Image], Image]) -> None:
    """It is refused before the change is even looked at."""
    with pytest.raises(ImageNotFound):
        attempt(_image(Visibility.PRIVATE))


@pytest.mark.parametrize(("name", "visibility"), list(product(["admin", "owner"], Visibility)))
def test_only_admins_may_publish(name: str, visibility: Visibility) -> None:
    """Only admins make images public; anything else is the owner's choice."""
    if visibility is Visibility.PUBLIC and name != "admin":
        with pytest.raises(NotPermitted):
            require_visibility(CALLERS[name], active(), visibility)
    else:
        require_visibility(CALLERS[name], active(), visibility)


@pytest.mark.parametrize("rule", [Rule.MODIFY_IMAGE, Rule.DELETE_IMAGE, Rule.UPLOAD_IMAGE])
def test_a_rule_opens_no_image_of_another_project(rule: Rule) -> None:
    """Whatever a policy file permits: only its project and admins change an image."""
    caller = replace(STRANGER, policy=Policy({rule: "@", Rule.GET_IMAGE: "@"}))

    with pytest.raises(NotPermitted, match="belongs to another project"):
        require_permitted(caller, rule, _image(Visibility.PUBLIC))
    with pytest.raises(ImageNotFound):
        require_permitted(caller, rule, _image(Visibility.PRIVATE))
    assert require_permitted(replace(caller, project="p1"), rule, active()) == active()


def test_a_project_without_a_name_owns_nothing() -> None:
    """A token without a project, and an image without an owner, have nothing in common."""
    caller = replace(OWNER, project="")
    image = replace(active(), owner="", visibility=Visibility.PRIVATE)

    assert not is_owner(caller, image)
    assert not permits(replace(caller, policy=Policy({"get_image": OWN})), Rule.GET_IMAGE, image)
