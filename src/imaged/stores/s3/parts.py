"""Parts: the pieces of a blob that are sent by one request, held in memory or streamed.

A part does not copy its blocks: it refers to their chunks. It is sent in small pieces, so that
neither signing nor sending blocks the event loop, and a thread computes its checksum. How large
parts are, and which of them are streamed, is decided in ``s3/part_memory.py``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from crc32c import crc32c

from imaged.core.block import Block
from imaged.core.limits import KIB, MIB
from imaged.stores.s3.settings import CRCS, Checksum

SEND_PIECE_BYTES = 256 * KIB  # per write to the socket
THREADED_HASH_BYTES = MIB  # hashed in a thread
#: Not the shared default threads: lookups of hosts that do not answer can block those.
HASH_POOL = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="s3-hashing")
#: A longer wait for the source counts as progress: the server is not late.
PROGRESS_EVERY_SECONDS = 1.0

T = TypeVar("T")


class BodyNotRepeatable(ConnectionError):
    """The request was repeated, but the bytes of the first one are gone."""


class _BlockPieces:
    """Pieces of blocks in order, at most ``limit_bytes`` in all."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._pieces: deque[bytes | memoryview] = deque()

    @property
    def is_full(self) -> bool:
        """Whether there is no room left."""
        return self.size_bytes >= self.limit_bytes

    def take(self, block: Block, start: int = 0) -> int:
        """Take what fits of a block from an offset on; returns the offset behind it."""
        end = min(block.size_bytes, start + self.limit_bytes - self.size_bytes)
        self._pieces.extend(_slice_block(block, start, end))
        self.size_bytes += end - start
        return end


class Part(_BlockPieces):
    """A part that is held in memory, so it can be sent again.

    It keeps its blocks until it is stored, so that their memory stays counted in the transfer
    budget.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._blocks: list[Block] = []

    def take(self, block: Block, start: int = 0) -> int:
        """Take what fits of a block from an offset on; returns the offset behind it."""
        self._blocks.append(block)
        return super().take(block, start)

    def as_body(self, on_progress: Callable[[], None]) -> PartBody:
        """The part as the body of one request; calls ``on_progress`` when some was sent."""
        return PartBody(partial(self._send, on_progress), self.size_bytes)

    async def _send(self, on_progress: Callable[[], None]) -> AsyncIterator[bytes | memoryview]:
        for piece in self._pieces:
            yield piece
            on_progress()
            await asyncio.sleep(0)  # a fast connection would take all of them without a pause

    async def checksum(self, kind: Checksum) -> dict[str, Any]:
        """The parameter of a call with the part's checksum, if one is configured."""
        return await self._hashed(partial(self._checksum, kind))

    async def md5(self) -> str:
        """The hexadecimal MD5 of the bytes: S3's ETag for them unless they are encrypted."""
        return (await self._hashed(self._md5)).hex()

    async def _hashed(self, work: Callable[[], T]) -> T:
        if self.size_bytes < THREADED_HASH_BYTES:
            return work()
        return await _in_thread(work)

    def _checksum(self, kind: Checksum) -> dict[str, str]:
        match kind:
            case "crc32c":
                return {"ChecksumCRC32C": _base64(self._crc(crc32c))}
            case "crc32":
                return {"ChecksumCRC32": _base64(self._crc(zlib.crc32))}
            case "md5":
                return {"ContentMD5": _base64(self._md5())}
            case "none":
                return {}

    def _crc(self, update: Callable[[bytes | memoryview, int], int]) -> bytes:
        value = 0
        for piece in self._pieces:
            value = update(piece, value)
        return value.to_bytes(4, "big")

    def _md5(self) -> bytes:
        digest = hashlib.md5(usedforsecurity=False)
        for piece in self._pieces:
            digest.update(piece)
        return digest.digest()


class StreamedPart(_BlockPieces):
    """A part of exactly ``limit_bytes`` that is sent while its bytes arrive.

    S3 allows 10,000 parts, so the parts of a large blob are large, and those of several such blobs
    would exceed the memory for parts. S3 requires an announced length, so only blobs of a known
    size have such parts. Taken bytes are in memory until the server has received them. They cannot
    be sent again: if the request fails, the write fails. A checksum cannot precede the bytes
    either; the MD5 is compared with the answer's ETag.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._digest = hashlib.md5(usedforsecurity=False)
        self._changed = asyncio.Event()
        self._are_hashed = False
        self._is_begun = False
        self._is_closed = False

    @property
    def md5(self) -> str:
        """The hexadecimal MD5 of the bytes taken so far."""
        return self._digest.hexdigest()

    async def drain(self) -> None:
        """Wait until the server has received all that was taken, or the request has ended."""
        await _in_thread(partial(self._hash, list(self._pieces)))
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


class PartBody:
    """The body for the HTTP library, which only iterates over it: each time a new iterator."""

    def __init__(
        self, pieces: Callable[[], AsyncIterator[bytes | memoryview]], size_bytes: int
    ) -> None:
        self._pieces = pieces
        self._size_bytes = size_bytes

    def __len__(self) -> int:
        return self._size_bytes

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self._pieces()

    def read(self) -> bytes:
        """Only exists because the library requires it of a body."""
        # Not an OSError, as io.UnsupportedOperation is: that would be retried like a lost
        # connection.
        raise RuntimeError("A part is sent piece by piece, and cannot be read.")


def checksum_algorithm(kind: Checksum) -> dict[str, Any]:
    """The parameter that announces, when an upload begins, the kind of its parts' checksums."""
    return {"ChecksumAlgorithm": kind.upper()} if kind in CRCS else {}


def _slice_block(block: Block, start: int, end: int) -> list[bytes | memoryview]:
    """The bytes of a block between two offsets, in pieces of one write each, not copied."""
    pieces: list[bytes | memoryview] = []
    position = 0
    for chunk in block.chunks:
        first, last = max(start - position, 0), min(end - position, len(chunk))
        if first < last:
            pieces.extend(_cut_chunk(chunk, first, last))
        position += len(chunk)
    return pieces


def _cut_chunk(chunk: bytes, first: int, last: int) -> list[bytes | memoryview]:
    if first == 0 and last == len(chunk) <= SEND_PIECE_BYTES:
        return [chunk]
    view = memoryview(chunk)
    return [
        view[at : min(at + SEND_PIECE_BYTES, last)] for at in range(first, last, SEND_PIECE_BYTES)
    ]


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(HASH_POOL, work)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
