"""Decides the size of an upload's next part, and whether it is held in memory or streamed.

A part up to the usual size is held, because every upload has that memory. A larger one, as large
blobs need, is held if there is room for it. Otherwise it is streamed if the size of the blob is
known, or made as small as the room.
"""

from __future__ import annotations

from imaged.stores.s3.part_memory import PartMemoryShare
from imaged.stores.s3.parts import Part, PartSizes
from imaged.stores.s3.streamed_part import StreamedPart


class PartPlanner:
    """Makes the parts of one upload. ``expected_bytes``: 0 if the size is unknown."""

    def __init__(self, share: PartMemoryShare, expected_bytes: int) -> None:
        self._share = share
        self._expected_bytes = expected_bytes
        self._sizes = PartSizes(share.part_bytes, expected_bytes)

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
