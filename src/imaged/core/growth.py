"""The space that a body reserves, and who waits for it if the length is unknown.

An upload of unknown length (also staging, or the import of a download without a length) reserves
space in steps while its data arrives. Where its project has little left, each may hold what another
one needs. So they are ordered by the begin of their work, which is the same on all instances.

Rule 1: an upload whose next step does not fit waits while a younger one holds space, because that
one gives up first.
Rule 2: it waits for an older one while that one may have reserved more than it needs: it will use
that, or give it back.
Rule 3: otherwise it gives up. So of those that wait, the youngest waits for none that waits: there
is always one that goes on or ends, and none gives up as long as all of them fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from imaged.core.claim import Claim, require_claim
from imaged.core.image import BrokenUpload, ClaimedChange, Image
from imaged.core.lifecycle import Status
from imaged.core.quota import SIZES, Resource

Age = tuple[datetime, str]  # the begin of the work, and the id of the image; the oldest is first


@dataclass(frozen=True, slots=True)
class GrowingUpload:
    """Work that writes a body of unknown length, as the catalog knows it.

    ``ahead_bytes``: those of ``reserved_bytes`` that were not received when it reserved them.
    """

    age: Age
    reserved_bytes: int
    ahead_bytes: int
    is_staging: bool

    def holds(self, resource: str) -> bool:
        """Whether its end would free some of the resource."""
        return bool(self.reserved_bytes) and (resource == Resource.TOTAL or self.is_staging)


def growing_upload_of(image: Image) -> GrowingUpload | None:
    """The work on an image, if it writes a body of unknown length."""
    if image.ahead_bytes is None or image.since is None:
        return None
    is_staging = image.status is Status.UPLOADING and image.staged is not None
    written = (image.staged,) if is_staging else image.locations
    return GrowingUpload(
        (image.since, image.id),
        sum(location.size_bytes for location in written if location is not None),
        image.ahead_bytes,
        is_staging,
    )


def may_wait(mine: GrowingUpload, resource: str, uploads: Iterable[GrowingUpload]) -> bool:
    """Whether an upload that was refused more of a resource waits; otherwise it gives up.

    ``uploads``: all growing ones of the project at the moment of the refusal.
    """
    if resource not in SIZES:
        return False
    others = [upload for upload in uploads if upload.age != mine.age and upload.holds(resource)]
    return any(other.age > mine.age or other.ahead_bytes for other in others)


def ahead_at_begin(announced_bytes: int | None) -> int | None:
    """What a new claim has reserved ahead: nothing, or None if it will never reserve more."""
    return 0 if announced_bytes is None else None


def reserve(
    size_bytes: int, received: BrokenUpload | None = None, *, ahead_bytes: int = 0
) -> ClaimedChange:
    """Reserve more bytes, because the body is longer than its reservation.

    ``received``: the record to keep if the body breaks off. ``ahead_bytes``: how many of the bytes
    are not received yet.
    """

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        if received is not None:
            image = replace(image, broken_upload=received)
        if image.ahead_bytes is not None:
            image = replace(image, ahead_bytes=ahead_bytes)
        if image.status is Status.UPLOADING and image.staged is not None:
            return replace(image, staged=replace(image.staged, size_bytes=size_bytes))
        (location,) = image.locations
        return replace(image, locations=(replace(location, size_bytes=size_bytes),))

    return change


def use_up(image: Image, claim: Claim) -> Image:
    """Record that nothing is reserved ahead any more: all of it was received. Raises ClaimLost."""
    require_claim(image.claim, claim)
    return replace(image, ahead_bytes=0) if image.ahead_bytes else image
