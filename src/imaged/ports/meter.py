"""What services and drivers tell whoever measures them: that something has ended, and how.

Telling never fails and never waits. Whoever measures decides what to make of it.
"""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Protocol, Self


class Meter(Protocol):
    """Is told of everything of one kind: the operations of a store, transfers, duties."""

    def __call__(self, what: str, seconds: float, error: BaseException | None, /) -> None:
        """It took so long; ``error`` is what it ended with, if it failed or was cancelled."""
        ...


def ignore_measurement(what: str, seconds: float, error: BaseException | None, /) -> None:
    """Measure nothing."""
    del what, seconds, error


class Timing:
    """Tells a meter how long its block took; whatever the block raises passes through."""

    __slots__ = ("_began", "_meter", "_what", "waited_seconds")

    def __init__(self, meter: Meter, what: str) -> None:
        self._meter = meter
        self._what = what
        self._began = 0.0
        self.waited_seconds = 0.0  # of it for others, which is not told

    def __enter__(self) -> Self:
        self._began = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._meter(self._what, perf_counter() - self._began - self.waited_seconds, error)
