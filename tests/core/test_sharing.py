"""Sharing: who may see, add, change and remove members, and what follows for the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from imaged.core.access import (
    Caller,
    may_see,
    require_permitted,
    require_readable,
)
from imaged.core.errors import (
    DataForbidden,
    ImagedError,
    ImageNotFound,
    InvalidAttribute,
    MemberExists,
    MemberNotFound,
    NotPermitted,
    NotShared,
    TooManyMembers,
)
from imaged.core.history import (
    Action,
    Actor,
    HistoryEntry,
    ImageHistory,
)
from imaged.core.history_access import history_as_seen_by
from imaged.core.image import Image, Visibility
from imaged.core.ledger import created, stamp
from imaged.core.lifecycle import GONE, Status
from imaged.core.member import Member, MemberStatus
from imaged.core.policy import Policy
from imaged.core.policy_rules import Rule
from imaged.core.sharing import (
    add_member,
    answer,
    members_seen_by,
    read_member_id,
    read_member_status,
    remove_member,
    require_member,
)
from support.callers import ADMIN, OWNER, READER, STRANGER
from support.sample_images import NOW, active, in_status

MEMBER = Caller("mia", "p-mia", frozenset({"member", "reader"}))
MEMBER_READER = replace(MEMBER, roles=frozenset({"reader"}))
OTHER_MEMBER = Caller("otto", "p-otto", frozenset({"member", "reader"}))
UNSCOPED = Caller("uma", "", frozenset({"member", "reader"}))
CALLERS = {
    "admin": ADMIN,
    "owner": OWNER,
    "owner's reader": READER,
    "member": MEMBER,
    "member's reader": MEMBER_READER,
    "other member": OTHER_MEMBER,
    "stranger": STRANGER,
    "unscoped": UNSCOPED,
}
LATER = NOW + timedelta(hours=1)
NOT_SHARED = [visibility for visibility in Visibility if visibility is not Visibility.SHARED]
ALL_MEMBERS = ["p-mia", "p-otto"]

Make = Callable[[Caller], Callable[[Image], Image]]


def shared(visibility: Visibility = Visibility.SHARED, status: Status = Status.ACTIVE) -> Image:
    """An image with two members of before, one of which has answered."""
    mia = Member("p-mia", created_at=NOW, updated_at=NOW)
    otto = Member("p-otto", MemberStatus.ACCEPTED, NOW, NOW)
    image = replace(in_status(status), visibility=visibility)
    return replace(image, members={"p-otto": otto, "p-mia": mia})


def outcome(make: Make, caller: Caller, image: Image) -> type[ImagedError] | None:
    """The error of a change, or None."""
    try:
        make(caller)(image)
    except ImagedError as error:
        return type(error)
    return None


CHANGES: dict[str, Make] = {
    "add": lambda caller: add_member(caller, "p-new", 9),
    "answer": lambda caller: answer(caller, "p-mia", MemberStatus.ACCEPTED),
    "remove": lambda caller: remove_member(caller, "p-mia"),
}

#: The error for each caller and change of a shared image.
RIGHTS: dict[str, dict[str, type[ImagedError] | None]] = {
    "admin": {"add": None, "answer": None, "remove": None},
    "owner": {"add": None, "answer": NotPermitted, "remove": None},
    "owner's reader": dict.fromkeys(CHANGES, NotPermitted),
    "member": {"add": NotPermitted, "answer": None, "remove": NotPermitted},
    "member's reader": dict.fromkeys(CHANGES, NotPermitted),
    "other member": {"add": NotPermitted, "answer": MemberNotFound, "remove": MemberNotFound},
    "stranger": dict.fromkeys(CHANGES, ImageNotFound),
    "unscoped": dict.fromkeys(CHANGES, ImageNotFound),
}


@pytest.mark.parametrize(("name", "change"), list(product(CALLERS, CHANGES)))
def test_who_may_change_members(name: str, change: str) -> None:
    """The owner adds and removes, a member answers for itself, and an admin does everything."""
    assert outcome(CHANGES[change], CALLERS[name], shared()) is RIGHTS[name][change]


@pytest.mark.parametrize(
    ("name", "change", "visibility"),
    list(product(CALLERS, CHANGES, NOT_SHARED)),
)
def test_only_a_shared_image_has_members(name: str, change: str, visibility: Visibility) -> None:
    """A caller that sees the image is told why; to all others it does not exist."""
    image = shared(visibility)
    expected = NotShared if may_see(CALLERS[name], image) else ImageNotFound

    assert outcome(CHANGES[change], CALLERS[name], image) is expected
    with pytest.raises(expected):
        members_seen_by(CALLERS[name], image)
    with pytest.raises((MemberNotFound, ImageNotFound)):
        require_member(CALLERS[name], image, "p-mia")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("admin", ALL_MEMBERS),
        ("owner", ALL_MEMBERS),
        ("owner's reader", ALL_MEMBERS),
        ("member", ["p-mia"]),
        ("member's reader", ["p-mia"]),
        ("other member", ["p-otto"]),
    ],
)
def test_who_sees_which_members(name: str, seen: list[str]) -> None:
    """The owner's project sees all of them, by id; a member sees only itself."""
    image, caller = shared(), CALLERS[name]

    assert [member.member_id for member in members_seen_by(caller, image)] == seen
    for member_id in (*ALL_MEMBERS, "p-none"):
        if member_id in seen:
            assert require_member(caller, image, member_id) is image.members[member_id]
        else:
            with pytest.raises(MemberNotFound):
                require_member(caller, image, member_id)


@pytest.mark.parametrize("name", ["stranger", "unscoped"])
def test_members_of_an_image_that_does_not_exist_for_the_caller(name: str) -> None:
    """It is not found, and neither is a member of it."""
    with pytest.raises(ImageNotFound):
        members_seen_by(CALLERS[name], shared())
    with pytest.raises(ImageNotFound):
        require_member(CALLERS[name], shared(), "p-mia")


@pytest.mark.parametrize(("before", "after"), list(product(MemberStatus, MemberStatus)))
def test_any_answer_may_follow_any_other(before: MemberStatus, after: MemberStatus) -> None:
    """The same answer changes nothing, and another one is dated anew."""
    image = shared()
    mia = replace(image.members["p-mia"], status=before)
    image = replace(image, members={**image.members, "p-mia": mia})
    answered = answer(MEMBER, "p-mia", after)(image)

    if before is after:
        assert answered is image
    else:
        assert answered.members == {**image.members, "p-mia": Member("p-mia", after, NOW)}


@pytest.mark.parametrize(
    ("status", "visibility", "answered"), list(product(Status, Visibility, MemberStatus))
)
def test_what_a_member_sees(status: Status, visibility: Visibility, answered: MemberStatus) -> None:
    """Whatever its answer, the image and its data, but only while it is shared; no changes."""
    image = shared(visibility, status)
    mia = replace(image.members["p-mia"], status=answered)
    image = replace(image, members={**image.members, "p-mia": mia})
    sees = visibility is not Visibility.PRIVATE and status not in GONE

    assert may_see(MEMBER, image) is sees
    if not sees:
        with pytest.raises(ImageNotFound):
            require_readable(MEMBER, image)
        return
    with pytest.raises(NotPermitted):
        require_permitted(MEMBER, Rule.MODIFY_IMAGE, image)
    if status is Status.DEACTIVATED:
        with pytest.raises(DataForbidden):
            require_readable(MEMBER, image)
    else:
        assert require_readable(MEMBER, image) is image


@pytest.mark.parametrize("visibility", Visibility)
def test_members_count_only_while_shared_whatever_the_policy(visibility: Visibility) -> None:
    """A rule that permits everything shows no private image to a member of before."""
    member = replace(MEMBER, policy=Policy({"get_image": "@", "download_image": "@"}))

    assert may_see(member, shared(visibility)) is (visibility is not Visibility.PRIVATE)


@pytest.mark.parametrize("caller", [OWNER, MEMBER])
def test_an_operator_may_forbid_to_see_members(caller: Caller) -> None:
    """All of them by one rule, and each of them by another, as in Glance."""
    without_list = replace(caller, policy=Policy({"get_members": "!"}))
    without_each = replace(caller, policy=Policy({"get_member": "!"}))

    with pytest.raises(NotPermitted):
        members_seen_by(without_list, shared())
    assert require_member(without_list, shared(), "p-mia").member_id == "p-mia"
    assert members_seen_by(without_each, shared()) == []
    with pytest.raises(MemberNotFound):
        require_member(without_each, shared(), "p-mia")


def test_the_owner_does_not_answer_for_its_own_project() -> None:
    """Nor does an image that is shared with its owner's project change hands by that."""
    image = add_member(OWNER, OWNER.project, 9)(shared())
    with pytest.raises(NotPermitted):
        answer(OWNER, OWNER.project, MemberStatus.ACCEPTED)(image)


def test_a_project_is_a_member_once() -> None:
    """A second time it is refused, and its answer stays."""
    with pytest.raises(MemberExists):
        add_member(OWNER, "p-otto", None)(shared())


@pytest.mark.parametrize(("most", "fits"), [(3, True), (2, False), (0, False), (None, True)])
def test_the_limit_of_members(most: int | None, fits: bool) -> None:
    """One that would exceed it is refused; members that are there may answer and go."""
    image = shared()
    if fits:
        more = add_member(OWNER, "p-new", most)(image)
        assert more.members == {**image.members, "p-new": Member("p-new")}
    else:
        with pytest.raises(TooManyMembers, match="shared with 2 projects"):
            add_member(OWNER, "p-new", most)(image)
    assert list(remove_member(OWNER, "p-mia")(image).members) == ["p-otto"]


@pytest.mark.parametrize("value", [None, 5, True, ["a"], {"a": 1}, "", "a" * 256, "a/b", "a\nb"])
def test_what_is_no_id_of_a_member(value: object) -> None:
    """The error names the field of the request."""
    with pytest.raises(InvalidAttribute, match="'member'"):
        read_member_id(value)


@pytest.mark.parametrize("value", ["a", "a" * 255, "Ü", "a b", "{x}"])
def test_ids_of_members(value: str) -> None:
    """Any name of a project, in tokens of a file too."""
    assert read_member_id(value) == value


@pytest.mark.parametrize("value", [None, 5, ["accepted"], {}, "", "ACCEPTED", "all", "accepted "])
def test_what_is_no_answer(value: object) -> None:
    """The error names the field of the request, and what is possible."""
    with pytest.raises(InvalidAttribute, match=r"'status'.*pending, accepted, rejected"):
        read_member_status(value)


@pytest.mark.parametrize("value", MemberStatus)
def test_answers(value: MemberStatus) -> None:
    """Each is read."""
    assert read_member_status(value.value) is value


def test_times_of_members() -> None:
    """The catalog dates a new member and an answer, and the image stays as old as it was."""
    image = created(replace(active(), members={"p-mia": Member("p-mia")}), NOW)
    assert image.members["p-mia"] == Member("p-mia", MemberStatus.PENDING, NOW, NOW)
    more = stamp(image, add_member(OWNER, "p-new", 9)(image), LATER)
    answered = stamp(more, answer(MEMBER, "p-mia", MemberStatus.REJECTED)(more), LATER)

    assert answered.members == {
        "p-mia": Member("p-mia", MemberStatus.REJECTED, NOW, LATER),
        "p-new": Member("p-new", MemberStatus.PENDING, LATER, LATER),
    }
    assert (answered.updated_at, answered.version) == (NOW, image.version + 2)
    both = replace(remove_member(OWNER, "p-new")(answered), name="another")
    assert stamp(answered, both, LATER).updated_at == LATER


@pytest.mark.parametrize("name", CALLERS)
def test_who_learns_with_whom_an_image_is_shared(name: str) -> None:
    """Its project and admins; to a member the history has no entries of members."""
    actions = (Action.CREATED, Action.MEMBER_ADDED, Action.MEMBER_ANSWERED, Action.MEMBER_REMOVED)
    entries = [HistoryEntry(1, NOW, action.value, Actor(), {}) for action in actions]
    seen = history_as_seen_by(CALLERS[name], ImageHistory(shared(), entries))

    is_told = name in {"admin", "owner", "owner's reader"}
    assert [one.action for one in seen.entries] == list(actions if is_told else actions[:1])
