"""CPU time, memory, start time and version of this process. It reads only /proc/self."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from time import process_time, time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_STATM = Path("/proc/self/statm")
_RESIDENT = 1  # index of the field; its unit is pages


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
