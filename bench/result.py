"""What a run found, as a file that a later run can be compared with."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.noise import Calibration, Noise, noise
from bench.sizes import Sizes

FIRST, SECOND, LIMIT = "first", "second", "limit"

Values = Mapping[str, Sequence[float]]  # of each contender, round by round


class Result(msgspec.Struct, frozen=True):
    """One run. ``taken`` goes by measure and figure, such as ``upload.speed``."""

    at: str
    machine: str
    names: Mapping[str, str]
    sizes: Sizes
    looks: Sequence[Calibration]
    taken: Mapping[str, Values]

    @property
    def noise(self) -> Noise:
        """How steady the machine was."""
        return noise(self.looks)

    def median(self, figure: str, of: str) -> float | None:
        """One contender's figure; None where there is none."""
        values = self.taken.get(figure, {}).get(of, ())
        return statistics.median(values) if values else None

    def spread(self, figure: str, of: str) -> float:
        """Half the way from its worst round to its best, as a share of the median."""
        values = self.taken[figure][of]
        return (max(values) - min(values)) / 2 / (statistics.median(values) or 1)


def read(path: Path) -> Result:
    """Raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=Result)


def write(path: Path, result: Result) -> None:
    """For ``read``. Raises OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
