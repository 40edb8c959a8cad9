"""Whether the bytes of a stream are one short piece, again and again, as zeros of a disk are."""

from __future__ import annotations

LONGEST_PERIOD_BYTES = 4096


class RepetitionDetector:
    """Looks at bytes as they come. Costs next to nothing once they do not repeat."""

    def __init__(self) -> None:
        self._start = bytearray()  # up to two of the longest periods: a shorter one shows in them
        self._piece = b""  # what is repeated, once that is known
        self._seen_bytes = 0
        self._is_ruled_out = False

    @property
    def is_repetitive(self) -> bool:
        """Whether all that came repeats a piece of at most half of it; true of a single byte."""
        if self._is_ruled_out:
            return False
        return bool(self._piece) or len(self._start) <= 1 or bool(_piece_of(bytes(self._start)))

    def feed(self, chunk: memoryview) -> None:
        """Take the next bytes."""
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
    """The shortest piece, of at most half of the text, that it repeats; b"" if there is none."""
    half = len(text) - len(text) // 2
    period = text.find(text[:half], 1)
    while 0 < period <= len(text) // 2:
        if text[period:] == text[:-period]:
            return text[:period]
        period = text.find(text[:half], period + 1)
    return b""
