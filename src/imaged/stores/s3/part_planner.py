"""Which part an upload sends next: how large it is, and whether it is held or streamed.

Up to the usual size a part is held, because that memory is every upload's. A larger one, as the
parts of large blobs are, is held where there is room for it. Otherwise it is streamed, where the
size of the blob is known, or it is as small as the room is.
"""

from __future__ import annotations

from imaged.stores.s3.part_memory import PartMemoryShare
from imaged.stores.s3.parts import Part, PartSizes
from imaged.stores.s3.streamed_part import StreamedPart


class PartPlanner:
    """Makes the parts of one upload. ``expected_bytes``: 0 where the size is not known."""

    def __init__(self, share: PartMemoryShare, expected_bytes: int) -> None:
        self._share = share
        self._expected_bytes = expected_bytes
        self._sizes = PartSizes(share.part_bytes, expected_bytes)

    @property
    def may_stream(self) -> bool:
        """Whether some of the parts may be streamed."""
        return self._sizes.next_after(0) > self._share.part_bytes

    async def make(self, sent_bytes: int) -> Part | StreamedPart:
        """The part that follows so many bytes, as soon as there is memory for it."""
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
        """The first part of a blob that is announced to fit into it: it takes what it needs."""
        await self._share.acquire(size_bytes)
        return Part(self._share.part_bytes)
