"""Memory for parts, of all uploads of one store together.

Strategy. An upload may always have one part: so a client who is slow to fill his keeps nobody else
waiting, whatever the crowd. Another part, to be filled while the first is being sent, is a matter
of speed, and is given as long as the memory for parts allows it; who does not get it waits until
his own part is stored, and reads nothing from his client meanwhile. Only the store's speed decides
how long that is. So the memory of many uploads is one part each, and in a crowd the parts of new
uploads are as small as S3 allows.

That one part is of the usual size. A larger one, as the parts of large blobs are, is held only
where there is room for it: otherwise it is streamed, or it is smaller (``s3/part_planner.py``). So
memory does not follow the size that a client announces.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from imaged.core.limits import MIB
from imaged.stores.s3.settings import MIN_PART_BYTES, S3Settings


class PartMemory:
    """The memory for parts of one store."""

    def __init__(self, settings: S3Settings) -> None:
        self._part_bytes = settings.part_size_bytes
        self._parts = settings.parts_in_flight
        self._uploads = 0
        self._changed = anyio.Event()
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[PartMemoryShare]:
        """One upload's part of it."""
        self._uploads += 1
        share = PartMemoryShare(self, self._usual_bytes())
        try:
            yield share
        finally:
            self._uploads -= 1
            share.release(share.held_bytes)

    @property
    def total_bytes(self) -> int:
        """What may be held, but for the one part of the usual size that each upload may have."""
        return self._parts * self._part_bytes

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether more than the one part that everybody has may be held."""
        return self.held_bytes + size_bytes <= self.total_bytes

    async def wait_for_release(self) -> None:
        """Wait until something was given back."""
        await self._changed.wait()

    def notify(self) -> None:
        """Wake up all who wait."""
        self._changed.set()
        self._changed = anyio.Event()

    def _usual_bytes(self) -> int:
        is_crowd = self._uploads > self._parts
        return MIN_PART_BYTES if is_crowd else self._part_bytes


class PartMemoryShare:
    """What one upload holds. ``part_bytes``: how large its parts should be at first."""

    def __init__(self, room: PartMemory, part_bytes: int) -> None:
        self.part_bytes = part_bytes
        self.held_bytes = 0
        self._memory = room

    async def acquire(self, size_bytes: int) -> None:
        """Take memory for one more part, as soon as it may be had."""
        while self.held_bytes and not self._memory.has_room_for(size_bytes):
            await self._memory.wait_for_release()
        self.held_bytes += size_bytes
        self._memory.held_bytes += size_bytes

    async def try_acquire(self, size_bytes: int) -> bool:
        """Take memory for a part that is larger than usual; whether it may be had.

        Not where a second one would have no room beside it: streaming is as quick then.
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
        """Take memory for a part of the usual size, or of up to this one where there is room."""
        while self.held_bytes and not self._memory.has_room_for(self.part_bytes):
            await self._memory.wait_for_release()
        free_bytes = (self._memory.total_bytes - self._memory.held_bytes) // MIB * MIB
        granted_bytes = max(self.part_bytes, min(size_bytes, free_bytes))
        await self.acquire(granted_bytes)
        return granted_bytes

    def release(self, size_bytes: int) -> None:
        """A part is stored, or given up."""
        size_bytes = min(size_bytes, self.held_bytes)  # leaving the share gave all of it back
        self.held_bytes -= size_bytes
        self._memory.held_bytes -= size_bytes
        self._memory.notify()
