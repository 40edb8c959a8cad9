"""The checksum of a body, compared with that of the broken upload while the body is received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imaged.core.broken_upload import (
    refused,
    require_same_beginning,
    require_same_length,
    require_whole_after_rest,
)
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.errors import RetryMismatch
from imaged.core.image import BrokenUpload
from imaged.core.repetition_detector import RepetitionDetector


class RetryDigest(Digest):
    """The MD5 that every image has, compared at the length at which the upload before broke off.

    So no second digest is needed. It is fed in a lane; ``remembered`` may be read from any thread.
    """

    def __init__(self, before: BrokenUpload, announced_bytes: int | None = None) -> None:
        super().__init__(CHECKSUM)
        self._before = before
        self._announced_bytes = announced_bytes
        self._repetition = RepetitionDetector()
        self._is_doubtful = False  # the rest may begin like the whole
        self._latest = before  # grows beyond ``before`` once the body is known to begin with it
        self._received_bytes = 0
        self._is_misannounced = self._is_judged = False

    @property
    def remembered(self) -> BrokenUpload | None:
        """The record for the image if the attempt fails now."""
        if self._is_judged:
            return None
        if self._is_misannounced and self._latest is not self._before:
            return replace(self._latest, announced_bytes=None)
        return self._latest

    def feed(self, block: Sequence[bytes | memoryview]) -> None:
        """Add the next chunks. Raises RetryMismatch."""
        for chunk in block:
            self._take(chunk)
        if self._received_bytes >= self._before.received_bytes and not self._is_doubtful:
            self._latest = replace(
                self._before,
                received_bytes=self._received_bytes,
                checksum=self.hexdigest(),
                at=None,
            )

    def require_whole(self) -> None:
        """Check at the end of the body that it is the whole file. Raises RetryMismatch."""
        require_same_length(self._before, self._received_bytes)
        if self._is_doubtful:
            self._require_whole_after_rest(self._received_bytes)

    def distrust_length(self) -> None:
        """The body's length differs from the announced one, which proves nothing any more."""
        self._is_misannounced = True

    def reject(self) -> None:
        """The whole file was received and refused: the next upload is another file."""
        self._is_judged = True

    def _take(self, chunk: bytes | memoryview) -> None:
        left_bytes = self._before.received_bytes - self._received_bytes
        self._received_bytes += len(chunk)
        if left_bytes <= 0:
            super().feed((chunk,))
            return
        head = memoryview(chunk)[:left_bytes]
        super().feed((head,))
        self._repetition.feed(head)
        if left_bytes <= len(chunk):
            require_same_beginning(self._before, self.hexdigest())
            self._is_doubtful = (
                self._before.announced_bytes is None and self._repetition.is_repetitive
            )
            if self._is_doubtful and self._announced_bytes is not None:
                self._require_whole_after_rest(self._announced_bytes)
            super().feed((memoryview(chunk)[left_bytes:],))

    def _require_whole_after_rest(self, size_bytes: int) -> None:
        try:
            require_whole_after_rest(self._before, size_bytes)
        except RetryMismatch:
            self._latest = refused(self._before, size_bytes)
            raise
