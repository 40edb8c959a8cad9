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
from imaged.core.digests import CHECKSUM, EMPTY_CHECKSUM, Digest, is_supported_algorithm
from imaged.core.errors import InvalidTransition, RetryMismatch
from imaged.core.image import BrokenUpload, Change, ClaimedChange, Image

LONGEST_PERIOD_BYTES = 4096


def begin_body(before: BrokenUpload | None, announced_bytes: int | None) -> BrokenUpload:
    """The record to store if this body breaks off immediately. Raises RetryMismatch."""
    if before is None:
        return BrokenUpload(announced_bytes, 0, EMPTY_CHECKSUM)
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


class RetryDigest(Digest):
    """A digest that the image gets anyway, compared at the length at which the upload before broke
    off.

    So no further digest is needed, unless ``algorithm``, that of this upload, is not the one that
    the record has. It is fed in a lane; ``remembered`` may be called in any thread. Once the body
    is known to begin with the same bytes, nothing is left to do for each chunk.
    """

    def __init__(
        self,
        before: BrokenUpload,
        announced_bytes: int | None = None,
        algorithm: str = CHECKSUM,
    ) -> None:
        recorded, _, self._expected = before.checksum.rpartition(":")
        self._is_comparable = True
        if before.received_bytes:
            self._is_comparable = is_supported_algorithm(recorded or CHECKSUM)
            algorithm = (recorded or CHECKSUM) if self._is_comparable else algorithm
        super().__init__(algorithm)
        self.algorithm = algorithm
        self._before = before
        self._announced_bytes = announced_bytes
        self._repetition = RepetitionDetector()
        self._left_bytes = before.received_bytes  # to compare
        self._is_doubtful = False  # the rest may begin like the whole
        self._refused: BrokenUpload | None = None
        self._is_misannounced = self._is_judged = False
        if self._left_bytes:
            self.feed = self._compare

    def remembered(self, received_bytes: int, checksum: str) -> BrokenUpload | None:
        """The record for the image if the attempt fails now.

        ``checksum``: the digest of the ``received_bytes`` fed so far, or of fewer.
        """
        if self._is_judged:
            return None
        latest = self._refused or self._before
        is_longer = received_bytes and received_bytes >= self._before.received_bytes
        if is_longer and not (self._left_bytes or self._is_doubtful):
            if self.algorithm != CHECKSUM:
                checksum = f"{self.algorithm}:{checksum}"
            latest = replace(latest, received_bytes=received_bytes, checksum=checksum, at=None)
        if self._is_misannounced and latest is not self._before:
            return replace(latest, announced_bytes=None)
        return latest

    def require_whole(self, received_bytes: int) -> None:
        """Check at the end of the body that it is the whole file. Raises RetryMismatch."""
        require_same_length(self._before, received_bytes)
        if self._is_doubtful:
            self._require_whole_after_rest(received_bytes)

    def distrust_length(self) -> None:
        """The body's length differs from the announced one, which proves nothing any more."""
        self._is_misannounced = True

    def reject(self) -> None:
        """The whole file was received and refused: the next upload is another file."""
        self._is_judged = True

    def _compare(self, chunk: bytes | memoryview) -> None:
        """Add the next chunk until all of the bytes before are compared. Raises RetryMismatch."""
        if not self._is_comparable:
            why = "cannot be compared, because this machine has no longer the digest of then"
            raise RetryMismatch(self._before.received_bytes, why)
        head = memoryview(chunk)[: self._left_bytes]
        self._hash.update(head)
        self._repetition.feed(head)
        if len(head) < self._left_bytes:
            self._left_bytes -= len(head)
            return
        if self.hexdigest() != self._expected:
            why = "does not begin with the same bytes"
            raise RetryMismatch(self._before.received_bytes, why)
        self._is_doubtful = self._before.announced_bytes is None and self._repetition.is_repetitive
        if self._is_doubtful and self._announced_bytes is not None:
            self._require_whole_after_rest(self._announced_bytes)
        self._left_bytes = 0
        self.feed = self._hash.update
        self.feed(memoryview(chunk)[len(head) :])

    def _require_whole_after_rest(self, size_bytes: int) -> None:
        """Check the length of a body that begins like its rest (rule 4). Raises RetryMismatch."""
        sent, refused_bytes = self._before.received_bytes, self._before.refused_bytes
        if refused_bytes is None or size_bytes != sent + refused_bytes:
            self._refused = after_refusal(self._before, size_bytes)
            why = "may be the rest of it: the bytes repeat themselves, and no length was announced"
            raise RetryMismatch(sent, why)


def after_refusal(before: BrokenUpload, size_bytes: int) -> BrokenUpload:
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


class RepetitionDetector:
    """Examines bytes as they are received. The cost is negligible once they do not repeat."""

    def __init__(self) -> None:
        self._start = bytearray()  # up to twice the longest period, which shows any shorter one
        self._piece = b""  # the repeated piece, once it is known
        self._seen_bytes = 0
        self._is_ruled_out = False

    @property
    def is_repetitive(self) -> bool:
        """Whether all bytes repeat a piece of at most half their number; true for a single byte."""
        if self._is_ruled_out:
            return False
        return bool(self._piece) or len(self._start) <= 1 or bool(_piece_of(bytes(self._start)))

    def feed(self, chunk: memoryview) -> None:
        """Add the next bytes."""
        if self._is_ruled_out:
            return
        if not self._piece:
            head = chunk[: 2 * LONGEST_PERIOD_BYTES - len(self._start)]
            self._start += head
            self._seen_bytes += len(head)
            chunk = chunk[len(head) :]
            if len(self._start) < 2 * LONGEST_PERIOD_BYTES:
                return
            self._piece = _piece_of(bytes(self._start))
            self._is_ruled_out = not self._piece
        if chunk and not self._is_ruled_out:
            self._compare(chunk)

    def _compare(self, chunk: memoryview) -> None:
        period = len(self._piece)
        turn = self._seen_bytes % period
        expected = (self._piece * (len(chunk) // period + 2))[turn : turn + len(chunk)]
        self._seen_bytes += len(chunk)
        self._is_ruled_out = chunk != expected


def _piece_of(text: bytes) -> bytes:
    """The shortest piece that the text repeats, of at most half its length; b"" if none."""
    half = len(text) - len(text) // 2
    period = text.find(text[:half], 1)
    while 0 < period <= len(text) // 2:
        if text[period:] == text[:-period]:
            return text[:period]
        period = text.find(text[:half], period + 1)
    return b""
