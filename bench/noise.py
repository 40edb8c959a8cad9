"""How steady the machine is: the same small work, again and again, and what others do meanwhile."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.sizes import MIB

CALIBRATION_RUNS = 3
CPU_SAMPLE_SECONDS = 0.25
MAX_QUIET_SPREAD = 0.15
MAX_QUIET_BUSY_SHARE = 0.10


class Calibration(msgspec.Struct, frozen=True):
    """One look at the machine while nothing of ours runs."""

    speeds: Sequence[float]  # MB/s of md5, sha512, write and fsync, one after the other
    others: float  # share of the processors that other processes had


class Noise(msgspec.Struct, frozen=True):
    """What all looks say together."""

    speed: float
    spread: float  # from the tenth to the ninetieth percentile, as a share of the median
    others: float

    @property
    def is_loud(self) -> bool:
        """Whether the figures of this run are worth little."""
        return self.spread > MAX_QUIET_SPREAD or self.others > MAX_QUIET_BUSY_SHARE

    @property
    def sentence(self) -> str:
        """What readers are told."""
        facts = (
            f"hash and write {self.speed:.0f} MB/s ± {self.spread / 2:.0%}, others had"
            f" {self.others:.0%} of the processors"
        )
        return f"NOISY machine: {facts}" if self.is_loud else f"quiet machine: {facts}"


def calibrate(folder: Path, work_bytes: int) -> Calibration:
    """Look once."""
    others = _busy_share()
    return Calibration(
        [_work(folder / "calibration", work_bytes) for _ in range(CALIBRATION_RUNS)], others
    )


def noise(looks: Sequence[Calibration]) -> Noise:
    """Judge all looks of a run."""
    speeds = [speed for look in looks for speed in look.speeds]
    deciles = statistics.quantiles(speeds, n=10, method="inclusive")
    speed = statistics.median(speeds)
    others = statistics.mean(look.others for look in looks)
    return Noise(speed, (deciles[-1] - deciles[0]) / speed, others)


def _work(path: Path, size_bytes: int) -> float:
    block = os.urandom(MIB)
    md5, sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, MIB):
            md5.update(block)
            sha512.update(block)
            file.write(block)
        os.fsync(file.fileno())
    spent = time.perf_counter() - began
    path.unlink()
    return size_bytes / spent / 1e6


def _busy_share() -> float:
    busy, total = _ticks()
    time.sleep(CPU_SAMPLE_SECONDS)  # what other programs do meanwhile is the measure
    busy_later, total_later = _ticks()
    return (busy_later - busy) / max(total_later - total, 1)


def _ticks() -> tuple[int, int]:
    """Busy (stolen by the host too), and all; proc(5), /proc/stat."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)
