"""A claim: one process performs one long operation until the lease expires."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NewType
from uuid import UUID

from imaged.core.errors import ClaimLost

InstanceId = NewType("InstanceId", str)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one process to work on an image. The catalog's clock measures the lease."""

    token: UUID  # unique per attempt, so a zombie's claim never equals its successor's
    owner: InstanceId
    lease: timedelta  # the longest time between two renewals


def require_claim(standing: Claim | None, claim: Claim) -> None:
    """Raise ClaimLost unless the current claim is this one."""
    if standing != claim:
        raise ClaimLost
