"""A lane: one thread beside the event loop that works off items in order.

Strategy. An upload is hashed twice, inspected, written and flushed, each in a lane of its own, so
that the slowest of them sets the pace and not their sum. A lane is fed from the event loop, which
waits while too many items are unfinished: so memory stays bounded from end to end. The thread
lives as long as its upload and belongs to it alone: a stalled disk holds up its own uploads only.

Uploads can wait a few milliseconds, and whoever asks for a record cannot. So lanes are nicer than
the event loop, and no more of them compute at once than there are processors. For the bytes of a
task nobody waits at all: its lanes are nicer still, and leave one processor alone (decision 23).

``InlineLane`` keeps the same promises without a thread, where time is virtual.
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
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import anyio

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

DEPTH = 4  # unfinished items, at most
CLOSE_TIMEOUT_SECONDS = 30  # how long the item under way is waited for when a lane is left
PROCESSORS = len(os.sched_getaffinity(0))
SLOT_WAIT_SECONDS = 0.25  # the longest wait for a turn: who has it may hang, in a disk for example


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

    def __call__(
        self, work: Callable[[T], None], *, computes: bool = False
    ) -> AbstractAsyncContextManager[Lane[T]]:
        """Leaving the block ends the lane; items not yet begun are dropped.

        Work that computes keeps a processor busy, and waits for nothing meanwhile.
        """
        ...


class CpuSlots:
    """So many work at the same time, and the others wait: more would be no faster, and each is one
    more that the event loop may have to wait for whenever it wakes.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._free = threading.BoundedSemaphore(at_once)

    @contextmanager
    def acquire(self) -> Iterator[bool]:
        """Wait for a turn, and have it for the block; False: it did not come in time."""
        came = self._free.acquire(timeout=SLOT_WAIT_SECONDS)
        try:
            yield came
        finally:
            if came:
                self._free.release()


class ThreadLane(Generic[T]):
    """A lane in a thread. Leaving its block waits for the item under way, but not for ever."""

    niceness = 5  # a third of the event loop's share, where both want a processor
    slots = CpuSlots(PROCESSORS)

    def __init__(
        self, work: Callable[[T], None], *, computes: bool = False, depth: int = DEPTH
    ) -> None:
        self._work = work
        self._slot = self.slots.acquire if computes else partial(nullcontext, enter_result=False)
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
        with anyio.move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True):
            await self._ended.wait()

    async def feed(self, item: T) -> None:
        """Hand over the next item; waits while the lane is full. Raises what the work raised."""
        await self._room.acquire()
        if self._failure is not None:
            self._room.release()
            raise self._failure
        self._queue.put(item)

    async def drain(self) -> None:
        """Wait until everything is done. Raises what the work raised."""
        async with AsyncExitStack() as room:
            for _ in range(self._depth):
                await room.enter_async_context(self._room)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        with suppress(OSError):  # where a sandbox forbids it, everything works, and others wait
            os.nice(self.niceness)  # on Linux, of this thread alone
        while (item := self._queue.get()) is not None:
            if self._failure is None and not self._closing:
                try:
                    with self._slot():
                        self._work(item)
                except BaseException as failure:  # noqa: BLE001 - raised again by feed and drain
                    self._failure = failure
            del item  # its memory is accounted for by its lifetime
            self._call(self._room.release)
        self._call(self._ended.set)

    def _call(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback)


class BackgroundLane(ThreadLane[T]):
    """A lane for bytes that nobody waits for. It takes slots whatever its work is."""

    niceness = 15
    slots = CpuSlots(max(1, PROCESSORS - 1))

    def __init__(
        self, work: Callable[[T], None], *, computes: bool = True, depth: int = DEPTH
    ) -> None:
        del computes
        super().__init__(work, computes=True, depth=depth)


class InlineLane(Generic[T]):
    """A lane without a thread: each item is done before ``feed`` returns."""

    def __init__(self, work: Callable[[T], None], *, computes: bool = False) -> None:
        del computes
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
