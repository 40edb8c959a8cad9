"""Lanes: threads beside the event loop that each process items in order.

An upload is hashed twice, inspected, written and flushed, each in its own lane, so the slowest step
limits the throughput instead of the sum. The event loop feeds a lane and waits while too many items
are unfinished, so memory stays bounded end to end. Each thread belongs to one upload and lives as
long: a stalled disk blocks only its own uploads.

Uploads can wait a few milliseconds; requests for records cannot. So lanes run at a higher niceness
than the event loop, and at most one per processor computes. No client waits for the bytes of a
task: its lanes have a still higher niceness and leave one processor free (decision 23).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from datetime import timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Protocol, Self, TypeVar

import anyio

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

DEPTH = 4  # unfinished items, at most
CLOSE_TIMEOUT_SECONDS = 30  # wait for the current item when a lane closes
PROCESSORS = len(os.sched_getaffinity(0))
SLOT_WAIT_SECONDS = 0.25  # then an item runs without a slot: the holder may hang in I/O


class Lane(Protocol[T_contra]):
    """Processes its items in order."""

    async def feed(self, item: T_contra) -> None:
        """Queue the next item; wait while the lane is full. Raises what the work raised."""
        ...

    async def drain(self) -> None:
        """Wait until all items are processed. Raises what the work raised."""
        ...


class LaneFactory(Protocol):
    """Creates a lane that applies ``work`` to each item."""

    def __call__(
        self, work: Callable[[T], None], *, computes: bool = False
    ) -> AbstractAsyncContextManager[Lane[T]]:
        """Leaving the block closes the lane and drops items not yet started.

        ``computes``: the work keeps a processor busy and does no I/O.
        """
        ...


class CpuSlots:
    """Limits the threads that compute at the same time. More would not be faster, and each would
    delay the event loop when it wakes.
    """

    def __init__(self, at_once: int, wait_seconds: float = SLOT_WAIT_SECONDS) -> None:
        self.at_once = at_once
        self._wait_seconds = wait_seconds
        self._free = threading.BoundedSemaphore(at_once)

    @contextmanager
    def acquire(self) -> Iterator[bool]:
        """Hold a slot during the block; yields False if none was free in time."""
        came = self._free.acquire(timeout=self._wait_seconds)
        try:
            yield came
        finally:
            if came:
                self._free.release()


class InlineLane(Generic[T]):
    """A lane without a thread, for items that take less time than handing them to one."""

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


_no_slot = partial(nullcontext, enter_result=False)


class ThreadLane(Generic[T]):
    """A lane with a thread from its first item on.

    Closing it waits for the current item, until a timeout.
    """

    niceness = 5  # a third of the event loop's CPU share under contention
    slots = CpuSlots(PROCESSORS)
    always_takes_slot = False

    def __init__(
        self,
        work: Callable[[T], None],
        *,
        computes: bool = False,
        depth: int = DEPTH,
        slots: CpuSlots | None = None,
        close_timeout_seconds: float = CLOSE_TIMEOUT_SECONDS,
    ) -> None:
        self._work = work
        needs_slot = computes or self.always_takes_slot
        self._slot = (slots or self.slots).acquire if needs_slot else _no_slot
        self._close_timeout_seconds = close_timeout_seconds
        self._room = asyncio.Semaphore(depth)
        self._depth = depth
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._failure: BaseException | None = None
        self._closing = False
        self._has_thread = False
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        if not self._has_thread:
            return
        self._queue.put(None)
        with anyio.move_on_after(self._close_timeout_seconds, shield=True):
            await self._ended.wait()

    async def feed(self, item: T) -> None:
        """Queue the next item; wait while the lane is full. Raises what the work raised."""
        await self._room.acquire()
        if self._failure is not None:
            self._room.release()
            raise self._failure
        if not self._has_thread:
            threading.Thread(target=self._run, name="lane", daemon=True).start()
            self._has_thread = True  # now that there is one: closing waits for its end
        self._queue.put(item)

    async def drain(self) -> None:
        """Wait until all items are processed. Raises what the work raised."""
        async with AsyncExitStack() as room:
            for _ in range(self._depth):
                await room.enter_async_context(self._room)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        with suppress(OSError):  # a sandbox may forbid it; the lane then runs at normal priority
            os.nice(self.niceness)  # on Linux, for this thread only
        while (item := self._queue.get()) is not None:
            if self._failure is None and not self._closing:
                try:
                    with self._slot():
                        self._work(item)
                except BaseException as failure:  # noqa: BLE001 - raised again by feed and drain
                    self._failure = failure
            del item  # its lifetime accounts for its memory
            self._call(self._room.release)
        self._call(self._ended.set)

    def _call(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nothing waits
            self._loop.call_soon_threadsafe(callback)


class BackgroundLane(ThreadLane[T]):
    """A lane for background work, which needs a slot for every item."""

    niceness = 15
    slots = CpuSlots(max(1, PROCESSORS - 1))
    always_takes_slot = True


async def wait_shielded(work: asyncio.Future[Any], at_most: timedelta) -> None:
    """Wait for a thread or a task that has to finish although this one is cancelled.

    Does not raise what the work raises. After the time it goes on alone.
    """
    with anyio.CancelScope(shield=True):
        await asyncio.wait({work}, timeout=at_most.total_seconds())
