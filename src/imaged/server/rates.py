"""How slow a client may be: a rate, averaged over a stretch of time in which it was its turn.

Time in which we did not want its bytes, or had none for it, is nobody's fault and is not counted;
what was moved meanwhile is.
"""

from __future__ import annotations

from collections import deque

from imaged.server.connection_settings import MinimumRate


class TransferRate:
    """One direction of a transfer, as far back as its client can be blamed for it."""

    __slots__ = ("_moved_bytes", "_samples", "_waited_seconds")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._waited_seconds = 0.0
        self._moved_bytes = 0

    def record(self, waited_seconds: float, moved_bytes: int, rate: MinimumRate) -> None:
        """Add what has been since the last note; what is older than the window goes."""
        if self._samples and not waited_seconds:  # however long it lasts, it takes no memory
            last_waited, last_moved = self._samples.pop()
            self._samples.append((last_waited, last_moved + moved_bytes))
        else:
            self._samples.append((waited_seconds, moved_bytes))
        self._waited_seconds += waited_seconds
        self._moved_bytes += moved_bytes
        window_seconds = rate.window.total_seconds()
        while self._waited_seconds - self._samples[0][0] >= window_seconds:
            waited, moved = self._samples.popleft()
            self._waited_seconds -= waited
            self._moved_bytes -= moved

    def is_below(self, rate: MinimumRate) -> bool:
        """Whether it was the client's turn for a whole window, and too little came of it."""
        if self._waited_seconds < rate.window.total_seconds():
            return False
        return self._moved_bytes < rate.bytes_per_second * self._waited_seconds
