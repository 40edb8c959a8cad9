"""Counts the transfers of this process: those in progress, and the bytes since its start."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from imaged.ports.meter import Meter, Timing, ignore_measurement

RATE_WINDOW = timedelta(seconds=5)


@dataclass(slots=True)
class Traffic:
    """Counts the transfers, block by block, on the event loop. Totals only grow."""

    uploads_in_flight: int = 0  # bodies being written to a store: uploads, staging, imports
    downloads_in_flight: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    meter: Meter = ignore_measurement  # receives each finished "upload" and "download"

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Count an upload while the block runs."""
        self.uploads_in_flight += 1
        try:
            with Timing(self.meter, "upload"):
                yield
        finally:
            self.uploads_in_flight -= 1

    @contextmanager
    def downloading(self) -> Iterator[None]:
        """Count a download while the block runs."""
        self.downloads_in_flight += 1
        try:
            with Timing(self.meter, "download"):
                yield
        finally:
            self.downloads_in_flight -= 1


class Rate:
    """The growth of a total per second, over the last seconds."""

    def __init__(self, window: timedelta = RATE_WINDOW) -> None:
        self._window_seconds = window.total_seconds()
        self._seen: deque[tuple[float, int]] = deque()  # (when, total), the earliest first

    def per_second(self, total: int, at: float) -> float:
        """Add a value of the total, and return its growth per second since the window began.

        ``at``: seconds of a monotonic clock, such as ``anyio.current_time()``. If calls are rare,
        the window begins at the last one; the first answer is 0.
        """
        self._seen.append((at, total))
        while len(self._seen) > 2 and self._seen[1][0] <= at - self._window_seconds:  # noqa: PLR2004 - a beginning and an end
            self._seen.popleft()
        since, before = self._seen[0]
        return (total - before) / (at - since) if at > since else 0.0
