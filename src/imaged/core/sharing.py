"""Sharing: which callers may see, add, change and remove the members of an image.

Rule 1: an image has members only while its visibility is ``shared``; members of before stay in its
record, and count again when it is shared again.
Rule 2: the owner adds and removes members, and sees all of them.
Rule 3: a member sees itself only, and answers: ``accepted``, ``rejected`` or ``pending`` again.
The owner does not answer for it.
Rule 4: a member sees the image by its id, and may read its data, whatever its answer. The answer
decides which lists have the image (``core/query.py``).
Rule 5: an administrator may do all of that.
Rule 6: inside these limits the rules of the caller's policy decide (``core/access.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from imaged.core.access import Caller, is_owner, permits, require_permitted, require_visible
from imaged.core.attributes import is_printable
from imaged.core.errors import (
    InvalidAttribute,
    MemberExists,
    MemberNotFound,
    NotShared,
    TooManyMembers,
)
from imaged.core.image import Change, Image, Visibility
from imaged.core.limits import MAX_OWNER_LENGTH
from imaged.core.member import Member, MemberStatus
from imaged.core.policy_rules import Rule


def read_member_id(value: object) -> str:
    """The id of a project that is to become a member. Raises InvalidAttribute.

    It has no ``/``, because it becomes a part of a path.
    """
    if not isinstance(value, str):
        raise InvalidAttribute("member", "must be a string: the id of a project")
    if not 0 < len(value) <= MAX_OWNER_LENGTH:
        raise InvalidAttribute("member", f"must have 1 to {MAX_OWNER_LENGTH} characters")
    if not is_printable(value) or "/" in value:
        raise InvalidAttribute("member", "must not have a '/' or unprintable characters")
    return value


def read_member_status(value: object) -> MemberStatus:
    """A member's answer. Raises InvalidAttribute."""
    if not isinstance(value, str) or value not in set(MemberStatus):
        raise InvalidAttribute("status", f"must be one of {', '.join(MemberStatus)}")
    return MemberStatus(value)


def add_member(caller: Caller, member_id: str, max_members: int | None) -> Change:
    """Share the image with a project. Raises ImageNotFound, NotShared, NotPermitted, MemberExists,
    TooManyMembers.

    ``max_members``: None is no limit. An image that has more keeps them.
    """

    def change(image: Image) -> Image:
        _require_shared(caller, image)
        require_permitted(caller, Rule.ADD_MEMBER, image)
        if member_id in image.members:
            raise MemberExists(image.id, member_id)
        if max_members is not None and len(image.members) >= max_members:
            raise TooManyMembers(image.id, len(image.members), max_members)
        return replace(image, members={**image.members, member_id: Member(member_id)})

    return change


def answer(caller: Caller, member_id: str, status: MemberStatus) -> Change:
    """Record a member's answer; the same answer changes nothing. Raises ImageNotFound, NotShared,
    MemberNotFound, NotPermitted.
    """

    def change(image: Image) -> Image:
        _require_shared(caller, image)
        member = require_member(caller, image, member_id)
        require_permitted(caller, Rule.MODIFY_MEMBER, image)
        if member.status is status:
            return image
        answered = replace(member, status=status, updated_at=None)
        return replace(image, members={**image.members, member_id: answered})

    return change


def remove_member(caller: Caller, member_id: str) -> Change:
    """Share the image with a project no longer. Raises ImageNotFound, NotShared, MemberNotFound,
    NotPermitted.
    """

    def change(image: Image) -> Image:
        _require_shared(caller, image)
        require_member(caller, image, member_id)
        require_permitted(caller, Rule.DELETE_MEMBER, image)
        others = {key: member for key, member in image.members.items() if key != member_id}
        return replace(image, members=others)

    return change


def members_seen_by(caller: Caller, image: Image) -> Sequence[Member]:
    """The members that the caller may see, by id. Raises ImageNotFound, NotShared, NotPermitted."""
    _require_shared(caller, image)
    require_permitted(caller, Rule.GET_MEMBERS, image)
    seen = _seen_by(caller, image)
    return [seen[member_id] for member_id in sorted(seen)]


def require_member(caller: Caller, image: Image, member_id: str) -> Member:
    """The member, if the caller may see it. Raises ImageNotFound, MemberNotFound."""
    require_visible(caller, image)
    member = _seen_by(caller, image).get(member_id)
    if member is None:
        raise MemberNotFound(image.id, member_id)
    return member


def _require_shared(caller: Caller, image: Image) -> None:
    require_visible(caller, image)
    if image.visibility is not Visibility.SHARED:
        raise NotShared(image.id, image.visibility)


def _seen_by(caller: Caller, image: Image) -> Mapping[str, Member]:
    """The members that count now and that the caller may see."""
    if image.visibility is not Visibility.SHARED or not permits(caller, Rule.GET_MEMBER, image):
        return {}
    if is_owner(caller, image):
        return image.members
    return {key: member for key, member in image.members.items() if key == caller.project}
