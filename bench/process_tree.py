"""What a server's processes cost, all together, as /proc tells."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
RESET_PEAK = "5"  # proc(5), /proc/PID/clear_refs

_GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class ProcessTree:
    """Some processes and all that descend from them."""

    roots: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Processor time so far, also of children that ended."""
        return sum(map(_ticks, self._pids())) / TICKS_PER_SECOND

    def resident_mib(self) -> float:
        """Memory now: the sum, so what they share counts more than once."""
        return sum(_status_kib(pid, "VmRSS") for pid in self._pids()) / 1024

    def peak_mib(self) -> float:
        """The sum of the most memory that each had since ``reset_peak``."""
        return sum(_status_kib(pid, "VmHWM") for pid in self._pids()) / 1024

    def reset_peak(self) -> None:
        """Begin anew; of processes of other users the peak of their life stays."""
        for pid in self._pids():
            with suppress(PermissionError, *_GONE):
                Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)

    def _pids(self) -> Iterable[int]:
        children: dict[int, list[int]] = {}
        for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
            if fields := _stat(pid):
                children.setdefault(int(fields[1]), []).append(pid)
        return [pid for root in self.roots for pid in _family(root, children)]


def _family(pid: int, children: dict[int, list[int]]) -> Iterator[int]:
    yield pid
    for child in children.get(pid, []):
        yield from _family(child, children)


def _ticks(pid: int) -> int:
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) if fields else 0  # utime, stime, and of ended children


def _stat(pid: int) -> list[str]:
    """The fields from the third one on; none, when the process is gone."""
    with suppress(*_GONE):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _status_kib(pid: int, name: str) -> int:
    with suppress(*_GONE):
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) if found else 0
    return 0
