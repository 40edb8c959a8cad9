"""Turns: changes of images wait in this process, before they take one of its few connections.

A transaction that waits for the lock of a row keeps its connection meanwhile. Without turns, many
changes of one image would hold every connection, and all others would wait behind them: the calls
about other images, and the renewals of leases.

Rule 1: of one image, one change at a time has a connection; the next is the one that came first.
Rule 2: changes of images leave some connections to everything else.
Rule 3: a change waits for its turn for a limited time, and no longer if the database does not
answer: then each of those before it would wait in vain, one after the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from anyio import CancelScope, CapacityLimiter, Lock, current_time, fail_after

MAX_CHANGES = 8  # connections that changes of images may use; the others are for claims and readers


class Turns:
    """Lets changes through. ``most``: of different images, at once."""

    def __init__(self, most: int = MAX_CHANGES) -> None:
        self._places = CapacityLimiter(most)
        self._locks: dict[str, Lock] = {}  # of the images that are being changed
        self._waits: set[CancelScope] = set()

    @asynccontextmanager
    async def turn(self, image_id: str, seconds: float) -> AsyncIterator[None]:
        """Hold the turn of an image. Raises TimeoutError if it does not come within ``seconds``, or
        if all waits are ended.
        """
        lock = self._locks.setdefault(image_id, Lock())
        try:
            async with AsyncExitStack() as held:
                with fail_after(seconds) as wait:
                    self._waits.add(wait)
                    try:
                        await held.enter_async_context(lock)
                        await held.enter_async_context(self._places)
                    finally:
                        self._waits.discard(wait)
                yield
        finally:
            if not lock.locked():  # otherwise the next one has it already
                self._locks.pop(image_id, None)

    def end_waits(self) -> None:
        """Let all that wait now fail."""
        for wait in self._waits:
            wait.deadline = current_time()
