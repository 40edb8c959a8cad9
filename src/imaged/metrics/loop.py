"""Whether time passes as it should: how late the event loop is, and whether the clock was set."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic, time

import anyio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PERIOD_SECONDS = 0.25
WINDOW_SECONDS = 60.0
STEP_SECONDS = 1.0  # what is less is a clock that is being disciplined


class Largest:
    """The largest of the values that came within a window."""

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._falling: deque[tuple[float, float]] = deque()  # (when, value), smaller ones later

    def note(self, value: float, at: float) -> None:
        """``at``: seconds of a clock that never goes back."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((at, value))

    def at(self, now: float) -> float:
        """The largest within the window that ends now; 0 where there is none."""
        while self._falling and self._falling[0][0] <= now - self._window_seconds:
            self._falling.popleft()
        return self._falling[0][1] if self._falling else 0.0


class LoopWatch:
    """Sleeps for a moment, again and again, and sees how long that was by either clock."""

    def __init__(self) -> None:
        self._lags = Largest()
        self._steps = 0

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            began, wall_began = monotonic(), time()
            await anyio.sleep(PERIOD_SECONDS)
            self.note(monotonic() - began, time() - wall_began, monotonic())

    def note(self, slept_seconds: float, wall_seconds: float, at: float) -> None:
        """A sleep of ``PERIOD_SECONDS`` took so long by each clock."""
        self._lags.note(max(0.0, slept_seconds - PERIOD_SECONDS), at)
        if abs(wall_seconds - slept_seconds) > STEP_SECONDS:
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
