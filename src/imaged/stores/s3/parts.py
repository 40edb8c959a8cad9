"""Parts: the pieces of a blob that are sent by one request, and their sizes.

A part does not copy its blocks. It refers to their chunks and keeps the blocks until it is stored,
so that their memory stays counted in the transfer budget. It is sent in small pieces, so that
neither signing nor sending blocks the event loop, and a thread computes its checksum.

Sizes. S3 allows 10,000 parts, so a blob of unknown size cannot have small parts to its end. A part
has the configured size until that would be less than 1/1,250 of what was sent before it; from there
on the parts grow with the blob. With first parts of 5 MiB that is enough for 5 TiB, and begins to
matter after 6 GiB. Until then all parts have one size, which some stores require. If the size is
known, all parts have the size that it needs. Parts that are larger than their memory are streamed
(``s3/streamed_part.py``), or made smaller if the size is unknown (``s3/part_memory.py``).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from imaged.core.block import Block
from imaged.core.limits import KIB, MIB
from imaged.stores.s3.settings import MAX_PART_BYTES, MAX_PARTS, Checksum
from imaged.stores.thread_pool import ThreadPool

GROWTH_DIVISOR = 1_250  # a part is at least this fraction of what was sent before
PLANNED_PARTS = MAX_PARTS - MAX_PARTS // 10  # if the size is known, which may be wrong
SEND_PIECE_BYTES = 256 * KIB  # per write to the socket
THREADED_HASH_BYTES = MIB  # hashed in a thread
#: Not the shared default threads: lookups of hosts that do not answer can block those.
HASH_POOL = ThreadPool("s3-hashing", len(os.sched_getaffinity(0)))


@dataclass(frozen=True, slots=True)
class PartSizes:
    """The sizes of a blob's parts."""

    first_bytes: int
    expected_bytes: int = 0  # 0: unknown

    def next_after(self, sent_bytes: int) -> int:
        """The size of the part at this offset, in bytes."""
        planned = _whole_mib(self.expected_bytes, PLANNED_PARTS)
        grown = _whole_mib(sent_bytes - self.expected_bytes, GROWTH_DIVISOR)
        return min(max(self.first_bytes, planned, grown), MAX_PART_BYTES)


class Part:
    """Pieces of blocks in order, at most ``limit_bytes`` in all."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self._pieces: list[bytes | memoryview] = []
        self._blocks: list[Block] = []

    @property
    def is_full(self) -> bool:
        """Whether there is no room left."""
        return self.size_bytes >= self.limit_bytes

    def take(self, block: Block, start: int = 0) -> int:
        """Take what fits of a block from an offset on; returns the offset behind it."""
        end = min(block.size_bytes, start + self.limit_bytes - self.size_bytes)
        self._pieces.extend(slice_block(block, start, end))
        self.size_bytes += end - start
        self._blocks.append(block)
        return end

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
        if self.size_bytes < THREADED_HASH_BYTES:
            return self._checksum(kind)
        return await HASH_POOL.run(partial(self._checksum, kind))

    async def md5(self) -> str:
        """The hexadecimal MD5 of the bytes: S3's ETag for them unless they are encrypted."""
        if self.size_bytes < THREADED_HASH_BYTES:
            return self._md5().hex()
        return (await HASH_POOL.run(self._md5)).hex()

    def _checksum(self, kind: Checksum) -> dict[str, str]:
        match kind:
            case "crc32":
                return {"ChecksumCRC32": _base64(self._crc32())}
            case "md5":
                return {"ContentMD5": _base64(self._md5())}
            case "none":
                return {}

    def _crc32(self) -> bytes:
        value = 0
        for piece in self._pieces:
            value = zlib.crc32(piece, value)
        return value.to_bytes(4, "big")

    def _md5(self) -> bytes:
        digest = hashlib.md5(usedforsecurity=False)
        for piece in self._pieces:
            digest.update(piece)
        return digest.digest()


def checksum_algorithm(kind: Checksum) -> dict[str, Any]:
    """The parameter that announces, when an upload begins, the kind of its parts' checksums."""
    return {"ChecksumAlgorithm": "CRC32"} if kind == "crc32" else {}


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


def slice_block(block: Block, start: int, end: int) -> list[bytes | memoryview]:
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


def _whole_mib(size_bytes: int, share: int) -> int:
    """A 1/``share`` fraction of the bytes, rounded up to MiB."""
    return -(-max(size_bytes, 0) // (share * MIB)) * MIB


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
