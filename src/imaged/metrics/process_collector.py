"""Metrics of this process: version, CPU time, memory, lag of the event loop, steps of the clock."""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, process_time, time

import anyio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_STATM = Path("/proc/self/statm")
_RESIDENT = 1  # index of the field; its unit is pages

SAMPLE_INTERVAL_SECONDS = 0.25
LAG_WINDOW_SECONDS = 60.0
CLOCK_STEP_SECONDS = 1.0  # smaller differences come from NTP slewing


class BuildCollector:
    """Yields the version and the start time."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._began_at = time()

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        build = GaugeMetricFamily(
            "imaged_build_info",
            "Always 1; the labels give the versions.",
            labels=("version", "python"),
        )
        build.add_metric((self._version, platform.python_version()), 1)
        yield build
        yield GaugeMetricFamily(
            "imaged_start_time_seconds", "When this instance started.", self._began_at
        )


class ProcessCollector:
    """Yields the CPU time and the resident memory."""

    def __init__(self) -> None:
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def collect(self) -> Iterator[Metric]:
        """Read them at each scrape."""
        yield CounterMetricFamily(
            "imaged_cpu_seconds", "CPU time that this instance used.", process_time()
        )
        yield GaugeMetricFamily(
            "imaged_resident_memory_bytes",
            "Resident memory of this instance; memory shared with its worker counts twice.",
            int(_STATM.read_text().split()[_RESIDENT]) * self._page_bytes,
        )


class LoopLagMonitor:
    """Sleeps repeatedly, and compares the elapsed time by the monotonic and the system clock."""

    def __init__(self) -> None:
        self._lags = SlidingMaximum()
        self._steps = 0

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            began, wall_began = monotonic(), time()
            await anyio.sleep(SAMPLE_INTERVAL_SECONDS)
            self.record(monotonic() - began, time() - wall_began, monotonic())

    def record(self, slept_seconds: float, wall_seconds: float, at: float) -> None:
        """Record how long a sleep of ``SAMPLE_INTERVAL_SECONDS`` took by each clock."""
        self._lags.record(max(0.0, slept_seconds - SAMPLE_INTERVAL_SECONDS), at)
        if abs(wall_seconds - slept_seconds) > CLOCK_STEP_SECONDS:
            self._steps += 1

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield GaugeMetricFamily(
            "imaged_event_loop_lag_seconds",
            "The longest delay of a timer by the event loop, over the last minute.",
            self._lags.at(monotonic()),
        )
        yield CounterMetricFamily(
            "imaged_clock_steps",
            "How often this machine's clock was set by more than a second.",
            self._steps,
        )


class SlidingMaximum:
    """The maximum of the values recorded within a window."""

    def __init__(self, window_seconds: float = LAG_WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._falling: deque[tuple[float, float]] = deque()  # (time, value), values falling

    def record(self, value: float, at: float) -> None:
        """Record a value. ``at``: seconds of a monotonic clock."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((at, value))

    def at(self, now: float) -> float:
        """Return the maximum of the window that ends at ``now``; 0 if it is empty."""
        while self._falling and self._falling[0][0] <= now - self._window_seconds:
            self._falling.popleft()
        return self._falling[0][1] if self._falling else 0.0
