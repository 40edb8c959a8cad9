"""What bytes are that are not going into a store: their size and digests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence

from imaged.core.block import Block
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.image import Content
from imaged.lanes import LaneFactory


class StreamDigest:
    """Taken of one stream, by a lane beside it."""

    def __init__(self, hash_algorithm: str, lanes: LaneFactory) -> None:
        self._hash_algorithm = hash_algorithm
        self._digests = Digest(CHECKSUM), Digest(hash_algorithm)
        self._lanes = lanes
        self._size_bytes = 0

    async def of(self, blocks: AsyncIterable[Block]) -> AsyncGenerator[Block]:
        """The same blocks; ``content`` tells when they have ended."""
        async with self._lanes(self._feed, computes=True) as lane:
            async for block in blocks:
                await lane.feed(block)
                yield block
                del block  # nobody may keep it alive while we wait for more
            await lane.drain()

    def content(self) -> Content:
        """What they were."""
        checksum, hash_value = (digest.hexdigest() for digest in self._digests)
        return Content(self._size_bytes, checksum, self._hash_algorithm, hash_value)

    def feed(self, chunks: Sequence[bytes]) -> None:
        """Take the next chunks; for those who have a lane of their own."""
        self._size_bytes += sum(map(len, chunks))
        for digest in self._digests:
            digest.feed(chunks)

    def _feed(self, block: Block) -> None:
        self.feed(block.chunks)
