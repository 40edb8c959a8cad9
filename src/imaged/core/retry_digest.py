"""The checksum of a body, compared on its way with what had come of the upload that broke off."""

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
    """The md5 that every image has, looked at once more where the body before had ended.

    So it costs no second digest. Fed in a lane; ``remembered`` may be read from elsewhere.
    """

    def __init__(self, before: BrokenUpload, announced_bytes: int | None = None) -> None:
        super().__init__(CHECKSUM)
        self._before = before
        self._announced_bytes = announced_bytes
        self._repetition = RepetitionDetector()
        self._is_doubtful = False  # the rest may begin like the whole
        self._latest = before  # more than before, once it is known that the body begins with that
        self._received_bytes = 0
        self._is_misannounced = self._is_judged = False

    @property
    def remembered(self) -> BrokenUpload | None:
        """What the image is to remember, should the attempt fail now."""
        if self._is_judged:
            return None
        if self._is_misannounced and self._latest is not self._before:
            return replace(self._latest, announced_bytes=None)
        return self._latest

    def feed(self, block: Sequence[bytes | memoryview]) -> None:
        """Take the next chunks. Raises RetryMismatch."""
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
        """The body has ended. Raises RetryMismatch where it is not the whole file."""
        require_same_length(self._before, self._received_bytes)
        if self._is_doubtful:
            self._require_whole_after_rest(self._received_bytes)

    def distrust_length(self) -> None:
        """Another length came than this body had announced: that proves nothing any more."""
        self._is_misannounced = True

    def reject(self) -> None:
        """The whole file came and was refused: what is sent next is another one."""
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
