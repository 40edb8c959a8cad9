"""A claim: this process, doing this long operation, until the lease runs out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NewType
from uuid import UUID

from imaged.core.errors import ClaimLost

InstanceId = NewType("InstanceId", str)


@dataclass(frozen=True, slots=True)
class Claim:
    """Who works on an image. The catalog's clock decides when its lease is over."""

    token: UUID  # unique per attempt, so a zombie's claim never equals its successor's
    owner: InstanceId
    lease: timedelta  # how long the owner may be silent


def require_claim(standing: Claim | None, claim: Claim) -> None:
    """Raise ClaimLost unless the claim that stands is this one."""
    if standing != claim:
        raise ClaimLost
