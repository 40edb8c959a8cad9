"""The member of an image: a project with which its owner shares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class MemberStatus(StrEnum):
    """What the member's project has answered."""

    PENDING = "pending"  # nothing yet
    ACCEPTED = "accepted"  # the image is in its lists
    REJECTED = "rejected"  # it still sees the image by its id


@dataclass(frozen=True, slots=True)
class Member:
    """A project with which an image is shared, and its answer."""

    member_id: str  # the id of the project
    status: MemberStatus = MemberStatus.PENDING
    created_at: datetime | None = None  # set by the catalog, by its clock
    updated_at: datetime | None = None  # of its answer; set by the catalog, by its clock

    def dated(self, now: datetime) -> Member:
        """The member with the times that are not set yet."""
        if self.updated_at is not None:
            return self
        return replace(self, created_at=self.created_at or now, updated_at=now)


def changed_member(before: Mapping[str, Member], after: Mapping[str, Member]) -> Member | None:
    """The member that a change added, changed or removed; one change concerns one member."""
    for member_id in sorted(before.keys() | after.keys()):
        old, new = before.get(member_id), after.get(member_id)
        if old != new:
            return new or old
    return None
