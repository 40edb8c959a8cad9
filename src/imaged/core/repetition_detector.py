"""Detects whether the bytes of a stream are one short piece repeated, like the zeros of a disk."""

from __future__ import annotations

LONGEST_PERIOD_BYTES = 4096


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
