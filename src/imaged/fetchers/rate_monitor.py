"""The minimum rate of the other side: bytes per period of waiting for it."""

from __future__ import annotations

from datetime import timedelta


class RateMonitor:
    """Counts only the time spent waiting, so imaged itself may be slow."""

    def __init__(self, min_bytes_per_second: int, window: timedelta) -> None:
        self._least_bytes = min_bytes_per_second * window.total_seconds()
        self._window_seconds = window.total_seconds()
        self._waited_seconds = 0.0
        self._received_bytes = 0

    @property
    def max_wait_seconds(self) -> float:
        """The maximum time to wait for the next bytes."""
        return self._window_seconds - self._waited_seconds

    def note(self, waited_seconds: float, received_bytes: int) -> bool:
        """Record one wait and its bytes; returns False if it was too slow for too long."""
        self._waited_seconds += waited_seconds
        self._received_bytes += received_bytes
        if self._waited_seconds < self._window_seconds:
            return True
        was_enough = self._received_bytes >= self._least_bytes
        self._waited_seconds, self._received_bytes = 0.0, 0
        return was_enough
