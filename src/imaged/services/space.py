"""Reserves space for bodies, in steps if their length is unknown; waits where it is short.

Strategy. ``core/growth.py`` decides in the transaction that refuses a step whether this body waits.
It waits without a transaction, while its lease is renewed and its client is held by back-pressure.
Its task is woken when an upload of the same project in this process ends; for those of other
processes it looks again from time to time. Of those that wait here, only the oldest and the
youngest do so often: the one is the first to get space, the other the first to give it up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import anyio

from imaged.core.block import Block, Blocks
from imaged.core.broken_upload import note_received
from imaged.core.errors import QuotaExceeded
from imaged.core.growth import Age, growing_upload_of, reserve, use_up
from imaged.core.image import Image, Location
from imaged.core.limits import MIB
from imaged.services.claimed import ClaimedImage
from imaged.services.ingest_pipeline import IngestPipeline
from imaged.services.traffic import Traffic

RESERVE_AHEAD_BYTES = 64 * MIB  # reserved ahead of a body of unknown length
RECEIVED_NOTE_SECONDS = 10  # interval of recording the received bytes, in case this process dies
LOOK_SECONDS = 0.5  # how often the oldest and the youngest that wait try again
OTHERS_LOOK_SECONDS = 5

Pause = Callable[[], Awaitable[None]]  # until it is worth another try


class SpaceQueue:
    """The uploads of this process that wait for space, by project."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Age, anyio.Event]] = {}

    def wake(self, project: str) -> None:
        """Let the oldest and the youngest try again: space may be free, or theirs is needed."""
        if places := self._waiting.get(project):
            for age in (min(places), max(places)):
                places[age].set()

    @contextmanager
    def place(self, project: str, age: Age, deadline: float) -> Iterator[Pause]:
        """A place in the queue, and what pauses there, until the deadline at most."""
        self.wake(project)
        places = self._waiting.setdefault(project, {})
        places[age] = anyio.Event()

        async def pause() -> None:
            is_first_or_last = age in {min(places), max(places)}
            seconds = LOOK_SECONDS if is_first_or_last else OTHERS_LOOK_SECONDS
            with anyio.move_on_after(min(seconds, deadline - anyio.current_time())):
                await places[age].wait()
            places[age] = anyio.Event()

        try:
            yield pause
        finally:
            del places[age]
            if not places:
                del self._waiting[project]
            self.wake(project)


@dataclass(frozen=True, slots=True)
class SpaceReserver:
    """Reserves the space of bodies before their bytes are written.

    ``slice_bytes``: reserved ahead where there is space. ``wait``: how long a step waits for it.
    """

    queue: SpaceQueue
    traffic: Traffic
    slice_bytes: int
    wait: timedelta

    async def of(
        self, blocks: Blocks, work: ClaimedImage, location: Location, pipeline: IngestPipeline
    ) -> AsyncGenerator[Block]:
        """The same blocks. Reserve more for a body that exceeds its reservation.

        The received bytes are recorded with it, and periodically, because this process may die.
        Raises QuotaExceeded, ClaimLost.
        """
        received, reserved = 0, location.size_bytes
        noted_at = anyio.current_time()
        async for block in blocks:
            received += block.size_bytes
            self.traffic.received_bytes += block.size_bytes
            if received > reserved:
                if not reserved:  # all bytes of the first block of such a body are recorded
                    await pipeline.catch_up()
                reserved = await self._reserve(work, received, pipeline)
                noted_at = anyio.current_time()
            elif anyio.current_time() - noted_at >= RECEIVED_NOTE_SECONDS:
                if remembered := pipeline.remembered:
                    await work.change(note_received(remembered))
                noted_at = anyio.current_time()
            yield block
            del block  # a reference would keep it alive while we wait for more

    async def _reserve(
        self, work: ClaimedImage, received_bytes: int, pipeline: IngestPipeline
    ) -> int:
        """Reserve a step, or exactly what was received; return the bytes reserved then."""
        step, ahead = received_bytes + self.slice_bytes, self.slice_bytes
        try:
            await work.change(reserve(step, pipeline.remembered, ahead_bytes=ahead))
        except QuotaExceeded:  # the rest may be short enough
            await self._reserve_exactly(work, received_bytes, pipeline)
            return received_bytes
        return step

    async def _reserve_exactly(
        self, work: ClaimedImage, received_bytes: int, pipeline: IngestPipeline
    ) -> None:
        async def reserve_it() -> Image:
            return await work.change(reserve(received_bytes, pipeline.remembered))

        try:
            await reserve_it()
        except QuotaExceeded as refused:
            mine = growing_upload_of(work.image)
            if mine is None or not refused.may_fit_later or not self.wait:
                raise
            await work.change(use_up)  # those that wait for it must see that
            await self._reserve_later(work.image.owner, mine.age, reserve_it)

    async def _reserve_later(
        self, project: str, age: Age, reserve_it: Callable[[], Awaitable[Image]]
    ) -> None:
        """Try again until there is space, this upload has to give up, or it has waited enough."""
        deadline = anyio.current_time() + self.wait.total_seconds()
        with self.queue.place(project, age, deadline) as pause:
            while True:
                await pause()
                try:
                    await reserve_it()
                except QuotaExceeded as refused:
                    if not refused.may_fit_later or anyio.current_time() >= deadline:
                        raise
                else:
                    return
