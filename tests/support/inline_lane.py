"""A lane that keeps the promises of ``imaged.lanes`` without a thread, for virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class InlineLane(Generic[T]):
    """A lane without a thread: ``feed`` processes the item itself."""

    def __init__(self, work: Callable[[T], None], *, computes: bool = False) -> None:
        del computes
        self._work = work

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def feed(self, item: T) -> None:
        """Process the item. Raises what the work raised."""
        self._work(item)

    async def drain(self) -> None:
        """Return at once: no item is unfinished."""
