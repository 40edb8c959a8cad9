"""How large the parts of an upload are, and the memory that all uploads of a store share for them.

Sizes. S3 allows 10,000 parts, so a blob of unknown size cannot have small parts to its end. A part
has the configured size until that would be less than 1/1,250 of what was sent before it; from there
on the parts grow with the blob. With first parts of 5 MiB that is enough for 5 TiB, and begins to
matter after 6 GiB. Until then all parts have one size, which some stores require. If the size is
known, all parts have the size that it needs.

Memory. Every upload may always hold one part, so a client that fills its part slowly keeps no other
upload waiting. A second part, filled while the first is being sent, only adds speed and is granted
while the shared memory lasts; without it an upload waits until its part is stored, and reads
nothing from its client meanwhile. Only the store's speed decides how long that takes. So with many
uploads memory is one part each, and the parts of new uploads are then as small as S3 allows.

That one part has the usual size. A larger one, as large blobs need, is held only if there is room
for it. Otherwise it is streamed if the size of the blob is known, or made as small as the room. So
memory does not depend on the size that a client announces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio

from imaged.core.limits import MIB
from imaged.stores.s3.parts import Part, StreamedPart
from imaged.stores.s3.settings import (
    DEFAULT_TUNING,
    MAX_PART_BYTES,
    MIN_PART_BYTES,
    S3Settings,
    S3Tuning,
)


@dataclass(frozen=True, slots=True)
class PartSizes:
    """The sizes of a blob's parts."""

    first_bytes: int
    expected_bytes: int = 0  # 0: unknown
    tuning: S3Tuning = DEFAULT_TUNING

    def next_after(self, sent_bytes: int) -> int:
        """The size of the part at this offset, in bytes."""
        planned = _whole_mib(self.expected_bytes, self.tuning.planned_parts)
        grown = _whole_mib(sent_bytes - self.expected_bytes, self.tuning.growth_divisor)
        return min(max(self.first_bytes, planned, grown), MAX_PART_BYTES)


class PartPlanner:
    """Makes the parts of one upload. ``expected_bytes``: 0 if the size is unknown."""

    def __init__(self, share: PartMemoryShare, expected_bytes: int) -> None:
        self._share = share
        self._expected_bytes = expected_bytes
        self._sizes = PartSizes(share.part_bytes, expected_bytes, share.tuning)

    @property
    def may_stream(self) -> bool:
        """Whether some of the parts may be streamed."""
        return self._sizes.next_after(0) > self._share.part_bytes

    async def make(self, sent_bytes: int) -> Part | StreamedPart:
        """The part at this offset, as soon as there is memory for it."""
        usual_bytes = self._share.part_bytes
        wanted_bytes = self._sizes.next_after(sent_bytes)
        left_bytes = self._expected_bytes - sent_bytes
        if wanted_bytes <= usual_bytes or 0 < left_bytes <= usual_bytes:
            await self._share.acquire(usual_bytes)
            return Part(usual_bytes)
        if left_bytes <= 0:
            return Part(await self._share.acquire_up_to(wanted_bytes))
        length = min(wanted_bytes, left_bytes)
        if await self._share.try_acquire(length):
            return Part(length)
        return StreamedPart(length)

    async def make_small(self, size_bytes: int) -> Part:
        """The only part of a blob whose announced size fits into it."""
        await self._share.acquire(size_bytes)
        return Part(self._share.part_bytes)


class PartMemory:
    """The memory for parts of one store."""

    def __init__(self, settings: S3Settings) -> None:
        self.tuning = settings.tuning
        self._part_bytes = settings.part_size_bytes
        self._parts = settings.parts_in_flight
        self._uploads = 0
        self._changed = anyio.Event()
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[PartMemoryShare]:
        """One upload's share of it."""
        self._uploads += 1
        share = PartMemoryShare(self, self._usual_bytes())
        try:
            yield share
        finally:
            self._uploads -= 1
            share.release(share.held_bytes)

    @property
    def total_bytes(self) -> int:
        """The memory beyond the one part of the usual size that each upload may hold, in bytes."""
        return self._parts * self._part_bytes

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether this much more than every upload's one part may be held."""
        return self.held_bytes + size_bytes <= self.total_bytes

    async def wait_for_release(self) -> None:
        """Wait until memory was released."""
        await self._changed.wait()

    def notify(self) -> None:
        """Wake up all that wait for memory."""
        self._changed.set()
        self._changed = anyio.Event()

    def _usual_bytes(self) -> int:
        is_crowd = self._uploads > self._parts
        return MIN_PART_BYTES if is_crowd else self._part_bytes


class PartMemoryShare:
    """The memory that one upload holds. ``part_bytes``: the size of its first parts."""

    def __init__(self, memory: PartMemory, part_bytes: int) -> None:
        self.part_bytes = part_bytes
        self.held_bytes = 0
        self.tuning = memory.tuning
        self._memory = memory

    async def acquire(self, size_bytes: int) -> None:
        """Take memory for one more part; waits until it is available."""
        while self.held_bytes and not self._memory.has_room_for(size_bytes):
            await self._memory.wait_for_release()
        self.held_bytes += size_bytes
        self._memory.held_bytes += size_bytes

    async def try_acquire(self, size_bytes: int) -> bool:
        """Try to take memory for a part that is larger than usual; returns whether it was granted.

        It is refused if a second one would not fit beside it: streaming is as fast then.
        """
        if 2 * size_bytes > self._memory.total_bytes:
            return False
        while self.held_bytes and not self._memory.has_room_for(size_bytes):
            await self._memory.wait_for_release()
        if not self._memory.has_room_for(size_bytes):
            return False
        await self.acquire(size_bytes)
        return True

    async def acquire_up_to(self, size_bytes: int) -> int:
        """Take memory for a part of the usual size, or of up to this size if there is room."""
        while self.held_bytes and not self._memory.has_room_for(self.part_bytes):
            await self._memory.wait_for_release()
        free_bytes = (self._memory.total_bytes - self._memory.held_bytes) // MIB * MIB
        granted_bytes = max(self.part_bytes, min(size_bytes, free_bytes))
        await self.acquire(granted_bytes)
        return granted_bytes

    def release(self, size_bytes: int) -> None:
        """Give the memory of a part back after it was stored or abandoned."""
        size_bytes = min(size_bytes, self.held_bytes)  # leaving the share gave all of it back
        self.held_bytes -= size_bytes
        self._memory.held_bytes -= size_bytes
        self._memory.notify()


def _whole_mib(size_bytes: int, share: int) -> int:
    """A 1/``share`` fraction of the bytes, rounded up to MiB."""
    return -(-max(size_bytes, 0) // (share * MIB)) * MIB
