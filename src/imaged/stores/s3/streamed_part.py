"""A part that is sent while its bytes come, because it is larger than the memory it may have.

S3 allows 10,000 parts, so the parts of a large blob are large, and those of several such blobs
would be more than the memory for parts. Its length is announced, which S3 asks for, so only blobs
of a known size have such parts. What is not held cannot be sent again: where the request fails, the
write fails. And no checksum can precede the bytes; the MD5 is compared with the answer's ETag.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial

from imaged.core.block import Block
from imaged.stores.s3.parts import HASH_POOL, slice_block

PROGRESS_EVERY_SECONDS = (
    1.0  # after which a wait for the source is told as progress: the server is not late
)


class BodyNotRepeatable(ConnectionError):
    """The request began anew, and the bytes of the first one are gone."""


class StreamedPart:
    """Exactly ``limit_bytes``. What was taken is in memory until the server has taken it."""

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
        """Whether nothing more has room."""
        return self.size_bytes >= self.limit_bytes

    @property
    def md5(self) -> str:
        """The digest of what was taken so far, in hex."""
        return self._digest.hexdigest()

    def take(self, block: Block, start: int = 0) -> int:
        """Take from a block what has room, beginning at an offset; the offset behind it."""
        end = min(block.size_bytes, start + self.limit_bytes - self.size_bytes)
        self._pieces.extend(slice_block(block, start, end))
        self.size_bytes += end - start
        return end

    async def drain(self) -> None:
        """Wait until the server has taken all that was taken, or the request has ended."""
        await HASH_POOL.run(partial(self._hash, list(self._pieces)))
        self._are_hashed = True
        self._announce()
        while self._pieces and not self._is_closed:
            await self._changed.wait()
        self._are_hashed = False

    def close(self) -> None:
        """The request has ended, well or not: nothing waits for it any more."""
        self._is_closed = True
        self._pieces.clear()
        self._announce()

    def as_body(self, on_progress: Callable[[], None]) -> StreamedBody:
        """The part as the body of one request. Tells each time when some of it was sent."""
        return StreamedBody(self, on_progress)

    async def pieces(self, on_progress: Callable[[], None]) -> AsyncIterator[bytes | memoryview]:
        """What was taken, as it comes, to the end. Raises BodyNotRepeatable the second time."""
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


class StreamedBody:
    """What the HTTP library is given: it iterates, and asks for nothing else."""

    def __init__(self, part: StreamedPart, on_progress: Callable[[], None]) -> None:
        self._part = part
        self._on_progress = on_progress

    def __len__(self) -> int:
        return self._part.limit_bytes

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self._part.pieces(self._on_progress)

    def read(self) -> bytes:
        """Only there because the library takes nothing without it for a body."""
        raise RuntimeError("A part is sent piece by piece, and cannot be read.")
