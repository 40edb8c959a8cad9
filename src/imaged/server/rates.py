"""The rate of a transfer, averaged over the time in which the server waited for its client.

Time in which the server did not read, or had nothing to send, does not count; the bytes moved in
it do.
"""

from __future__ import annotations

from collections import deque

from imaged.server.connection_settings import MinimumRate


class TransferRate:
    """Measures one direction of a transfer over a sliding window."""

    __slots__ = ("_moved_bytes", "_samples", "_waited_seconds")

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._waited_seconds = 0.0
        self._moved_bytes = 0

    def record(self, waited_seconds: float, moved_bytes: int, rate: MinimumRate) -> None:
        """Add a sample, and drop samples older than the window of ``rate``."""
        if self._samples and not waited_seconds:  # merge it: memory stays constant
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
        """Whether the server waited for a whole window and received less than ``rate`` in it."""
        if self._waited_seconds < rate.window.total_seconds():
            return False
        return self._moved_bytes < rate.bytes_per_second * self._waited_seconds
