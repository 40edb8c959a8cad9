"""The size and digests of bytes that are not written to a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence

from imaged.core.block import Block
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.image import Content
from imaged.lanes import LaneFactory


class StreamDigest:
    """The digests of one stream, computed in a lane."""

    def __init__(self, hash_algorithm: str, lanes: LaneFactory) -> None:
        self._hash_algorithm = hash_algorithm
        self._digests = Digest(CHECKSUM), Digest(hash_algorithm)
        self._lanes = lanes
        self._size_bytes = 0

    async def of(self, blocks: AsyncIterable[Block]) -> AsyncGenerator[Block]:
        """The same blocks; ``content`` is available after the last one."""
        async with self._lanes(self._feed, computes=True) as lane:
            async for block in blocks:
                await lane.feed(block)
                yield block
                del block  # a reference would keep it alive while we wait for more
            await lane.drain()

    def content(self) -> Content:
        """The size and digests of the stream."""
        checksum, hash_value = (digest.hexdigest() for digest in self._digests)
        return Content(self._size_bytes, checksum, self._hash_algorithm, hash_value)

    def feed(self, chunks: Sequence[bytes]) -> None:
        """Add the next chunks; for callers with their own lane."""
        self._size_bytes += sum(map(len, chunks))
        for digest in self._digests:
            digest.feed(chunks)

    def _feed(self, block: Block) -> None:
        self.feed(block.chunks)
