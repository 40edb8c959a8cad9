"""The member of an image: a project with which its owner shares it."""

from __future__ import annotations

from dataclasses import dataclass
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
    updated_at: datetime | None = None  # of the answer; set by the catalog, by its clock
