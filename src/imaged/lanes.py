"""A lane: one thread beside the event loop that works off items in order.

Strategy. An upload is hashed twice, inspected, written and flushed, each in a lane of its own, so
that the slowest of them sets the pace and not their sum. A lane is fed from the event loop, which
waits while too many items are unfinished: so memory stays bounded from end to end. The thread
lives as long as its upload and belongs to it alone: a stalled disk holds up its own uploads only.

Uploads can wait a few milliseconds, and whoever asks for a record cannot. So lanes are nicer than
the event loop, and no more of them compute at once than there are processors (decision 23).

``InlineLane`` keeps the same promises without a thread, where time is virtual.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import anyio

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

DEPTH = 4  # unfinished items, at most
NICENESS = 15
LAST_ITEM_SECONDS = 30  # how long the item under way is waited for when a lane is left
NICER = 5  # a third of the event loop's share, where both want a processor

#: Hold it to compute for long, and wait for nothing meanwhile. One thread for each processor is as
#: fast as many are, and the event loop has fewer before it whenever it wakes.
PROCESSORS = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))


class Lane(Protocol[T_contra]):
    """Works off what it is fed, in order."""

    async def feed(self, item: T_contra) -> None:
        """Hand over the next item; waits while the lane is full. Raises what the work raised."""
        ...

    async def drain(self) -> None:
        """Wait until everything is done. Raises what the work raised."""
        ...


class LaneFactory(Protocol):
    """Makes a lane that applies ``work`` to each item."""

    def __call__(self, work: Callable[[T], None]) -> AbstractAsyncContextManager[Lane[T]]:
        """Leaving the block ends the lane; items not yet begun are dropped."""
        ...


class ThreadLane(Generic[T]):
    """A lane in a thread. Leaving its block waits for the item under way, but not for ever."""

    def __init__(self, work: Callable[[T], None], depth: int = DEPTH) -> None:
        self._work = work
        self._room = asyncio.Semaphore(depth)
        self._depth = depth
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._failure: BaseException | None = None
        self._closing = False
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="lane", daemon=True).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        self._queue.put(None)
        with anyio.move_on_after(LAST_ITEM_SECONDS, shield=True):
            await self._ended.wait()

    async def feed(self, item: T) -> None:
        """Hand over the next item; waits while the lane is full. Raises what the work raised."""
        await self._room.acquire()
        self._raise_failure()
        self._queue.put(item)

    async def drain(self) -> None:
        """Wait until everything is done. Raises what the work raised."""
        for _ in range(self._depth):
            await self._room.acquire()
        for _ in range(self._depth):
            self._room.release()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        with suppress(OSError):  # where a sandbox forbids it, everything works, and others wait
            os.nice(NICER)  # on Linux, of this thread alone
        while (item := self._queue.get()) is not None:
            if self._failure is None and not self._closing:
                try:
                    self._work(item)
                except BaseException as failure:  # noqa: BLE001 - raised again by feed and drain
                    self._failure = failure
            del item  # its memory is accounted for by its lifetime
            self._call(self._room.release)
        self._call(self._ended.set)

    def _call(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback)


class QuietLane(ThreadLane[T]):
    """A lane that leaves the processor to others, where the system lets a thread do so."""

    def _run(self) -> None:
        with suppress(AttributeError, OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # of this thread
        super()._run()


class InlineLane(Generic[T]):
    """A lane without a thread: each item is done before ``feed`` returns."""

    def __init__(self, work: Callable[[T], None]) -> None:
        self._work = work

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    async def feed(self, item: T) -> None:
        """Do it. Raises what the work raised."""
        self._work(item)

    async def drain(self) -> None:
        """Nothing is left to wait for."""
