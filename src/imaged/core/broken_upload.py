"""Whether a body is the whole file whose upload broke off before, and not only the rest of it.

Clients repeat a broken upload without rewinding their file (openstacksdk before 4.18; and
python-glanceclient, as Nova and Cinder drive it): they send what they had not sent yet, with a
length that fits, or in chunks. So an image remembers what was announced, how many bytes had come,
and the digest of those. Disks begin with zeros: a few bytes of the beginning would prove nothing.

Rule 1: a body that does not begin with what had come never becomes the data.
Rule 2: where both lengths were announced, they are equal; so is the length that came at last.
Rule 3: the first bytes that were ever sent are the truth. More is remembered only of a body that
began with them; a body that was refused leaves the memory as it was.
Rule 4: where what had come in chunks repeats itself, as zeros do, the rest may begin like the
whole. The first such body is refused, and its length is remembered: if it was the rest, then the
whole is as long as that and what had come together. A body of just that length is taken.
"""

from __future__ import annotations

from dataclasses import replace

from imaged.core.claim import Claim, require_claim
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.errors import InvalidTransition, RetryMismatch
from imaged.core.image import BrokenUpload, Change, ClaimedChange, Image


def begin_body(before: BrokenUpload | None, announced_bytes: int | None) -> BrokenUpload:
    """What is remembered should this body break off at once. Raises RetryMismatch."""
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
    """Compare as many bytes as had come before. Raises RetryMismatch.

    ``checksum``: of that many bytes of this body.
    """
    if checksum != before.checksum:
        raise RetryMismatch(before.received_bytes, "does not begin with the same bytes")


def require_whole_after_rest(before: BrokenUpload, size_bytes: int) -> None:
    """Look at the length of a body that begins like its own rest (rule 4). Raises RetryMismatch."""
    if before.refused_bytes is None or size_bytes != before.received_bytes + before.refused_bytes:
        why = "may be the rest of it: what had come repeats itself, and no length was announced"
        raise RetryMismatch(before.received_bytes, why)


def refused(before: BrokenUpload, size_bytes: int) -> BrokenUpload:
    """What is remembered where such a body was refused: the length of the first one."""
    if before.refused_bytes is not None:
        return before
    return replace(before, refused_bytes=size_bytes, at=None)


def require_same_length(before: BrokenUpload, size_bytes: int) -> None:
    """Look at the length of the whole body, in bytes. Raises RetryMismatch."""
    if size_bytes < before.received_bytes:
        raise RetryMismatch(before.received_bytes, f"ended after {size_bytes}")
    if before.announced_bytes not in {None, size_bytes}:
        why = f"has {size_bytes} bytes instead of the {before.announced_bytes} announced then"
        raise RetryMismatch(before.received_bytes, why)


def note_received(broken: BrokenUpload) -> ClaimedChange:
    """Note how much of a body has come, in the middle of it. Raises ClaimLost."""

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        return replace(image, broken_upload=broken)

    return change


def replacing(begin: ClaimedChange) -> ClaimedChange:
    """The beginning of a body that is another file on purpose."""
    return lambda image, claim: begin(replace(image, broken_upload=None), claim)


def without_broken_upload(begin: ClaimedChange) -> ClaimedChange:
    """The beginning of a body that leaves no memory, where that is switched off."""
    return lambda image, claim: replace(replacing(begin)(image, claim), broken_upload=None)


def forget_broken(seen: Image) -> Change:
    """The time to remember it is over. Raises InvalidTransition where the image has changed."""

    def change(image: Image) -> Image:
        if image.version != seen.version or image.claim is not None:
            raise InvalidTransition(image.status, "forget the broken upload")
        return replace(image, broken_upload=None)

    return change
