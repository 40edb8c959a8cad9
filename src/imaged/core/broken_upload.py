"""Checks that the retry of a broken upload sends the whole file, and not only the rest of it.

Some clients repeat a broken upload without rewinding their file (openstacksdk before 4.18;
python-glanceclient, as Nova and Cinder use it): they send only the bytes not sent yet, with a
matching length or in chunks. Therefore an image records the announced length, the number of bytes
received, and their digest. Disks begin with zeros, so comparing only a few bytes would prove
nothing.

Rule 1: a body that does not begin with the bytes received before never becomes the data.
Rule 2: where both lengths were announced, they are equal; the received length is equal, too.
Rule 3: the first bytes ever sent are authoritative. The record grows only with a body that began
with them; a refused body leaves the record unchanged.
Rule 4: if the bytes received in chunks repeat themselves, as zeros do, the rest may begin like the
whole. The first such body is refused, and its length is recorded: if it was the rest, the whole
file is as long as that plus the bytes received before. Only a body of that length is accepted.
"""

from __future__ import annotations

from dataclasses import replace

from imaged.core.claim import Claim, require_claim
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.errors import InvalidTransition, RetryMismatch
from imaged.core.image import BrokenUpload, Change, ClaimedChange, Image


def begin_body(before: BrokenUpload | None, announced_bytes: int | None) -> BrokenUpload:
    """The record to store if this body breaks off immediately. Raises RetryMismatch."""
    if before is None:
        return BrokenUpload(announced_bytes, 0, Digest(CHECKSUM).hexdigest())
    if announced_bytes is None:
        return before
    if before.announced_bytes is None:
        if announced_bytes < before.received_bytes:
            raise RetryMismatch(before.received_bytes, f"has only {announced_bytes}")
        return before
    if announced_bytes != before.announced_bytes:
        why = f"announces {announced_bytes} bytes instead of {before.announced_bytes}"
        raise RetryMismatch(before.received_bytes, why)
    return before


def require_same_beginning(before: BrokenUpload, checksum: str) -> None:
    """Compare the bytes that were received before. Raises RetryMismatch.

    ``checksum``: the md5 of the same number of bytes of this body.
    """
    if checksum != before.checksum:
        raise RetryMismatch(before.received_bytes, "does not begin with the same bytes")


def require_whole_after_rest(before: BrokenUpload, size_bytes: int) -> None:
    """Check the length of a body that begins like its own rest (rule 4). Raises RetryMismatch."""
    if before.refused_bytes is None or size_bytes != before.received_bytes + before.refused_bytes:
        why = "may be the rest of it: the bytes repeat themselves, and no length was announced"
        raise RetryMismatch(before.received_bytes, why)


def refused(before: BrokenUpload, size_bytes: int) -> BrokenUpload:
    """The record after a body was refused by rule 4: it keeps the length of the first one."""
    if before.refused_bytes is not None:
        return before
    return replace(before, refused_bytes=size_bytes, at=None)


def require_same_length(before: BrokenUpload, size_bytes: int) -> None:
    """Check the length of the whole body, in bytes. Raises RetryMismatch."""
    if size_bytes < before.received_bytes:
        raise RetryMismatch(before.received_bytes, f"ended after {size_bytes}")
    if before.announced_bytes not in {None, size_bytes}:
        why = f"has {size_bytes} bytes instead of the {before.announced_bytes} announced then"
        raise RetryMismatch(before.received_bytes, why)


def note_received(broken: BrokenUpload) -> ClaimedChange:
    """Record how much of a body was received, while the upload continues. Raises ClaimLost."""

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        return replace(image, broken_upload=broken)

    return change


def replacing(begin: ClaimedChange) -> ClaimedChange:
    """Begin an upload that replaces the file on purpose: the old record is dropped."""
    return lambda image, claim: begin(replace(image, broken_upload=None), claim)


def without_broken_upload(begin: ClaimedChange) -> ClaimedChange:
    """Begin an upload without a record, where the setting disables it."""
    return lambda image, claim: replace(replacing(begin)(image, claim), broken_upload=None)


def forget_broken(seen: Image) -> Change:
    """Drop the record when its time is over. Raises InvalidTransition if the image has changed."""

    def change(image: Image) -> Image:
        if image.version != seen.version or image.claim is not None:
            raise InvalidTransition(image.status, "forget the broken upload")
        return replace(image, broken_upload=None)

    return change
