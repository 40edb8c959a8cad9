"""Whether time passes as it should: how late the event loop is, and whether the clock was set."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic, time

import anyio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

SAMPLE_INTERVAL_SECONDS = 0.25
LAG_WINDOW_SECONDS = 60.0
CLOCK_STEP_SECONDS = 1.0  # what is less is a clock that is being disciplined


class SlidingMaximum:
    """The largest of the values that came within a window."""

    def __init__(self, window_seconds: float = LAG_WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._falling: deque[tuple[float, float]] = deque()  # (when, value), smaller ones later

    def record(self, value: float, at: float) -> None:
        """``at``: seconds of a clock that never goes back."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((at, value))

    def at(self, now: float) -> float:
        """The largest within the window that ends now; 0 where there is none."""
        while self._falling and self._falling[0][0] <= now - self._window_seconds:
            self._falling.popleft()
        return self._falling[0][1] if self._falling else 0.0


class LoopLagMonitor:
    """Sleeps for a moment, again and again, and sees how long that was by either clock."""

    def __init__(self) -> None:
        self._lags = SlidingMaximum()
        self._steps = 0

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            began, wall_began = monotonic(), time()
            await anyio.sleep(SAMPLE_INTERVAL_SECONDS)
            self.record(monotonic() - began, time() - wall_began, monotonic())

    def record(self, slept_seconds: float, wall_seconds: float, at: float) -> None:
        """A sleep of ``SAMPLE_INTERVAL_SECONDS`` took so long by each clock."""
        self._lags.record(max(0.0, slept_seconds - SAMPLE_INTERVAL_SECONDS), at)
        if abs(wall_seconds - slept_seconds) > CLOCK_STEP_SECONDS:
            self._steps += 1

    def collect(self) -> Iterator[Metric]:
        """What it saw."""
        yield GaugeMetricFamily(
            "imaged_event_loop_lag_seconds",
            "The longest that the event loop let a timer wait, over the last minute.",
            self._lags.at(monotonic()),
        )
        yield CounterMetricFamily(
            "imaged_clock_steps",
            "How often this machine's clock was set, by more than a second.",
            self._steps,
        )
