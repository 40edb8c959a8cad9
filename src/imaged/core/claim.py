"""A claim: one process performs one long operation until the lease expires."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import NewType
from uuid import UUID

from imaged.core.errors import ClaimLost

InstanceId = NewType("InstanceId", str)

_PROCESS = re.compile(r"#[0-9]+\Z")  # an instance's own id ends with letters and digits


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


def process_holder(instance: InstanceId, number: int) -> InstanceId:
    """The holder of the claims of one process of an instance. ``number``: never used again."""
    return InstanceId(f"{instance}#{number}")


def instance_of(holder: InstanceId) -> InstanceId:
    """The instance that a holder of claims belongs to."""
    return InstanceId(_PROCESS.sub("", holder))
