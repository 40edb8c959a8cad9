"""A part that is sent while its bytes arrive, because it is larger than the memory it may have.

S3 allows 10,000 parts, so the parts of a large blob are large, and those of several such blobs
would exceed the memory for parts. S3 requires an announced length, so only blobs of a known size
have such parts. Bytes that are not held cannot be sent again: if the request fails, the write
fails. A checksum cannot precede the bytes either; the MD5 is compared with the answer's ETag.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial

from imaged.core.block import Block
from imaged.stores.s3.parts import HASH_POOL, PartBody, slice_block

PROGRESS_EVERY_SECONDS = (
    1.0  # a longer wait for the source counts as progress: the server is not late
)


class BodyNotRepeatable(ConnectionError):
    """The request was repeated, but the bytes of the first one are gone."""


class StreamedPart:
    """Exactly ``limit_bytes``. Taken bytes are in memory until the server has received them."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._digest = hashlib.md5(usedforsecurity=False)
        self._pieces: deque[bytes | memoryview] = deque()
        self._changed = asyncio.Event()
        self._are_hashed = False
        self._is_begun = False
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether there is no room left."""
        return self.size_bytes >= self.limit_bytes

    @property
    def md5(self) -> str:
        """The hexadecimal MD5 of the bytes taken so far."""
        return self._digest.hexdigest()

    def take(self, block: Block, start: int = 0) -> int:
        """Take what fits of a block from an offset on; returns the offset behind it."""
        end = min(block.size_bytes, start + self.limit_bytes - self.size_bytes)
        self._pieces.extend(slice_block(block, start, end))
        self.size_bytes += end - start
        return end

    async def drain(self) -> None:
        """Wait until the server has received all that was taken, or the request has ended."""
        await HASH_POOL.run(partial(self._hash, list(self._pieces)))
        self._are_hashed = True
        self._announce()
        while self._pieces and not self._is_closed:
            await self._changed.wait()
        self._are_hashed = False

    def close(self) -> None:
        """Note that the request has ended, with or without success; ends all waits."""
        self._is_closed = True
        self._pieces.clear()
        self._announce()

    def as_body(self, on_progress: Callable[[], None]) -> PartBody:
        """The part as the body of one request; calls ``on_progress`` when some was sent."""
        return PartBody(partial(self.pieces, on_progress), self.limit_bytes)

    async def pieces(self, on_progress: Callable[[], None]) -> AsyncIterator[bytes | memoryview]:
        """The bytes as they arrive, to the end. Raises BodyNotRepeatable the second time."""
        if self._is_begun:
            raise BodyNotRepeatable
        sent_bytes = 0
        while sent_bytes < self.limit_bytes:
            await self._wait_for_pieces(on_progress)
            self._is_begun = True
            sent_bytes += len(self._pieces[0])
            yield self._pieces[0]
            self._pieces.popleft()
            self._announce()
            on_progress()
            await asyncio.sleep(0)

    async def _wait_for_pieces(self, on_progress: Callable[[], None]) -> None:
        while not (self._pieces and self._are_hashed):
            try:
                async with asyncio.timeout(PROGRESS_EVERY_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                on_progress()

    def _hash(self, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            self._digest.update(piece)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
