"""Metrics of a process: version, CPU time, memory, files, lag of the event loop, clock steps."""

from __future__ import annotations

import os
import platform
import resource
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, process_time, time

import anyio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PROC_SELF = Path("/proc/self")

SAMPLE_INTERVAL_SECONDS = 0.25
LAG_WINDOW_SECONDS = 60.0
CLOCK_STEP_SECONDS = 1.0  # smaller differences come from NTP slewing


class BuildCollector:
    """Yields the version."""

    def __init__(self, version: str) -> None:
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        build = GaugeMetricFamily(
            "imaged_build_info",
            "Always 1; the labels give the versions.",
            labels=("version", "python"),
        )
        build.add_metric((self._version, platform.python_version()), 1)
        yield build


class ProcessCollector:
    """Yields the standard metrics of a process: ``process_*``, as all Prometheus clients name them.

    The library's own collector yields none of them where ``/proc/stat`` is hidden, as it is by
    ``ProcSubset=pid`` in our units: it reads the time of the boot there. ``process`` is a label,
    because an instance may have several processes, and limits and start times cannot be added:
    "daemon", "worker", and "api-1" for the first one of those that answer.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._started_at = _start_time()

    def collect(self) -> Iterator[Metric]:
        """Read them at each scrape."""
        cpu = CounterMetricFamily(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds.",
            labels=("process",),
        )
        cpu.add_metric((self._process,), process_time())
        yield cpu
        virtual_pages, resident_pages = map(int, (PROC_SELF / "statm").read_text().split()[:2])
        max_fds, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield self._gauge(
            "resident_memory_bytes",
            "Resident memory size in bytes.",
            resident_pages * self._page_bytes,
        )
        yield self._gauge(
            "virtual_memory_bytes",
            "Virtual memory size in bytes.",
            virtual_pages * self._page_bytes,
        )
        yield self._gauge(
            "start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            self._started_at,
        )
        yield self._gauge(
            "open_fds",
            "Number of open file descriptors.",
            sum(1 for _ in (PROC_SELF / "fd").iterdir()),
        )
        yield self._gauge("max_fds", "Maximum number of open file descriptors.", max_fds)

    def _gauge(self, name: str, what: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"process_{name}", what, labels=("process",))
        family.add_metric((self._process,), value)
        return family


def _start_time() -> float:
    """When the kernel started this process, in seconds since the epoch: proc(5), /proc/pid/stat,
    field 22, in ticks since the boot. The first two fields are a number and a name with blanks.
    """
    stat = (PROC_SELF / "stat").read_text()
    ticks = int(stat.rpartition(")")[2].split()[22 - 3])
    return time() - clock_gettime(CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


class LoopLagMonitor:
    """Sleeps repeatedly, and compares the elapsed time by the monotonic and the system clock.

    ``counts_steps``: whether steps of the clock are metrics of this process; one of an instance is
    enough.
    """

    def __init__(self, *, counts_steps: bool = True) -> None:
        self.counts_steps = counts_steps
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
        if self.counts_steps:
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
