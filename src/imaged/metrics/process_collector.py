"""What this process uses, and since when. Nothing outside /proc/self is read."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from time import process_time, time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_STATM = Path("/proc/self/statm")
_RESIDENT = 1  # which of its numbers; in pages


class BuildCollector:
    """What runs, and since when."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._began_at = time()

    def collect(self) -> Iterator[Metric]:
        """Both."""
        build = GaugeMetricFamily(
            "imaged_build_info",
            "Always 1; the labels say what runs.",
            labels=("version", "python"),
        )
        build.add_metric((self._version, platform.python_version()), 1)
        yield build
        yield GaugeMetricFamily(
            "imaged_start_time_seconds", "When this instance began.", self._began_at
        )


class ProcessCollector:
    """Reads it when asked."""

    def __init__(self) -> None:
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        yield CounterMetricFamily(
            "imaged_cpu_seconds", "Processor time that this instance used.", process_time()
        )
        yield GaugeMetricFamily(
            "imaged_resident_memory_bytes",
            "Memory that this instance holds; what its worker shares with it counts twice.",
            int(_STATM.read_text().split()[_RESIDENT]) * self._page_bytes,
        )
