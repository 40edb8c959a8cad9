"""The interface through which services and drivers report finished operations for metrics.

A report never fails and never blocks. The receiver decides what to record.
"""

from __future__ import annotations

from time import perf_counter
from types import TracebackType
from typing import Protocol, Self

#: What is told of a store, and of a catalog.
STORE_OPERATIONS = ("put", "open", "read", "delete", "check")
TRANSACTION_KINDS = ("read", "write", "check")


class Meter(Protocol):
    """Receives the operations of one kind: those of a store, transfers, jobs."""

    def __call__(self, what: str, seconds: float, error: BaseException | None, /) -> None:
        """Report the duration; ``error`` ended the operation, if it failed or was cancelled."""
        ...


def ignore_measurement(what: str, seconds: float, error: BaseException | None, /) -> None:
    """Discard the measurement."""
    del what, seconds, error


class Timing:
    """Reports the duration of its block to a meter; exceptions propagate."""

    __slots__ = ("_began", "_meter", "_what", "waited_seconds")

    def __init__(self, meter: Meter, what: str) -> None:
        self._meter = meter
        self._what = what
        self._began = 0.0
        self.waited_seconds = 0.0  # waiting for others, which is not reported

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
