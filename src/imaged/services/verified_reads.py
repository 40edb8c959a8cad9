"""Reads the bytes of a blob for a download, and verifies them before they are passed on.

Three modes, which differ in memory and guarantees:

* *held*: A block of 4 MiB is read into memory, compared with its checksum, and passed on.
* *twice*: A block is read once for its checksum and discarded, and then again, in pieces of
  64 KiB. Each piece must equal that of the first pass. For many clients: it needs as little memory
  as a read that verifies nothing, and reads everything twice.
* *plain*: Nothing is compared: for blobs of versions that recorded no checksums, and if
  ``downloads.verify`` is false.

The first two modes never pass on a byte of a damaged block.

A client that reads 64 KiB at a time requests parts of one block sixty-four times. So a connection
caches one verified block for the next range, while the transfer budget has ample room.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import reduce

from crc32c import crc32c

from imaged.core.block import SMALLEST_BLOCK_BYTES, DownloadBuffer, TransferBudget
from imaged.core.byte_range import ByteSpan
from imaged.core.errors import BlobMissing, StoreError
from imaged.core.image import Content, Location
from imaged.core.integrity import (
    BLOCK_BYTES,
    block_span,
    blocks_of,
    checksum_in,
    page_of,
    require_checksum,
)
from imaged.core.limits import MIB
from imaged.ports.image_catalog import BlobCatalog
from imaged.ports.store import BlobReader, CheckingReader, Store

HELD_CHUNK_BYTES = 2 * MIB  # the larger size makes up for the cost of the checksum
REREAD_PIECE_BYTES = SMALLEST_BLOCK_BYTES
PIECES_IN_MEMORY = 3  # of the first pass, on its way to the client, and after that
#: The key of the connection's cache in the ``state`` of an ASGI scope.
BLOCK_CACHE = "kept_block"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob to read, and its record."""

    store: Store
    location: Location
    content: Content

    @asynccontextmanager
    async def open(self, start: int) -> AsyncIterator[BlobReader]:
        """Open it at an offset. Raises BlobMissing, and StoreError if its size is wrong."""
        store, key = self.location.store, self.location.key
        async with self.store.open(key, start) as reader:
            if reader.size_bytes == 0 < self.content.size_bytes:
                raise BlobMissing(store, key)
            if reader.size_bytes != self.content.size_bytes:
                raise StoreError(
                    store,
                    f"has {reader.size_bytes} bytes of {key} instead of {self.content.size_bytes}",
                )
            yield reader

    async def read(self, reader: BlobReader, length: int) -> bytes:
        """Read exactly ``length`` bytes. Raises StoreError if there are fewer."""
        chunk = await reader.read(length)
        if len(chunk) != length:
            raise StoreError(self.location.store, f"lost the end of {self.location.key}")
        return chunk


class RecordedChecksums:
    """The checksums of a blob's blocks, read from the catalog page by page."""

    def __init__(self, catalog: BlobCatalog, key: str) -> None:
        self._catalog = catalog
        self._key = key
        self._number: int | None = None
        self._page: bytes | None = None

    async def of(self, block: int) -> int | None:
        """The checksum of this block; None if none is recorded. Raises CatalogError."""
        number = page_of(block)
        if number != self._number:
            self._page = await self._catalog.get_block_checksums(self._key, number)
            self._number = number
        return None if self._page is None else checksum_in(self._page, block)


class BlockCache:
    """The block of one connection. Its bytes count as in flight while it is cached."""

    def __init__(self) -> None:
        self._name: tuple[str, int] | None = None
        self._chunks: Sequence[bytes] = ()
        self._size_bytes = 0
        self._budget: TransferBudget | None = None

    def take(self, key: str, number: int) -> Sequence[bytes] | None:
        """The chunks of this block of a blob, if it is cached; otherwise the cache is emptied."""
        if self._name == (key, number):
            return self._chunks
        self.release()
        return None

    def keep(self, key: str, number: int, chunks: Sequence[bytes], budget: TransferBudget) -> None:
        """Replace the cached block, if there is room."""
        if self._name == (key, number):
            return
        self.release()
        size_bytes = sum(map(len, chunks))
        if budget.has_room_for(size_bytes):
            budget.take(size_bytes)
            self._name, self._chunks = (key, number), chunks
            self._size_bytes, self._budget = size_bytes, budget

    def release(self) -> None:
        """Empty the cache."""
        if self._budget is not None:
            self._budget.give_back(self._size_bytes)
        self._name, self._chunks, self._budget = None, (), None


async def read_plain(
    blob: StoredBlob, span: ByteSpan, budget: TransferBudget
) -> AsyncGenerator[bytes]:
    """The bytes of the span, unverified. Raises BlobMissing, StoreError."""
    with DownloadBuffer(budget) as buffer:
        async with blob.open(span.start) as reader:
            left = span.length
            while left:
                length = min(left, budget.block_bytes)
                buffer.take(length)
                yield await blob.read(reader, length)
                left -= length


def read_verified(
    blob: StoredBlob,
    span: ByteSpan,
    checksums: RecordedChecksums,
    budget: TransferBudget,
    kept: BlockCache,
) -> AsyncGenerator[bytes]:
    """The bytes of the span, verified.

    Raises DataDamaged before the first byte of a damaged block; BlobMissing, StoreError,
    CatalogError.
    """
    if budget.has_room_for(_held_bytes(blob)):
        return _read_held(blob, span, checksums, budget, kept)
    return _read_twice(blob, span, checksums, budget)


def _held_bytes(blob: StoredBlob) -> int:
    """The memory of a read that holds blocks: one, and the end of the one before it."""
    if blob.content.size_bytes <= BLOCK_BYTES:
        return blob.content.size_bytes
    return BLOCK_BYTES + HELD_CHUNK_BYTES


async def _read_held(
    blob: StoredBlob,
    span: ByteSpan,
    checksums: RecordedChecksums,
    budget: TransferBudget,
    kept: BlockCache,
) -> AsyncGenerator[bytes]:
    key, end = blob.location.key, span.start + span.length
    reader: BlobReader | None = None
    async with AsyncExitStack() as opened:
        opened.enter_context(budget.lending(_held_bytes(blob)))
        for number in blocks_of(span):
            block = block_span(number, blob.content.size_bytes)
            chunks = kept.take(key, number)
            if chunks is None:
                if reader is None:
                    reader = await opened.enter_async_context(blob.open(block.start))
                chunks = await _read_block(blob, reader, number, checksums)
            for part in _cut(chunks, block.start, span):
                yield part
            if end < block.start + block.length:  # the next range may begin in the same block
                kept.keep(key, number, chunks, budget)


async def _read_block(
    blob: StoredBlob,
    reader: BlobReader,
    number: int,
    checksums: RecordedChecksums,
) -> Sequence[bytes]:
    length = block_span(number, blob.content.size_bytes).length
    lengths = [
        min(HELD_CHUNK_BYTES, length - start) for start in range(0, length, HELD_CHUNK_BYTES)
    ]
    chunks: Sequence[bytes]
    if isinstance(reader, CheckingReader):
        chunks, found = await reader.read_checked(lengths)
    else:
        chunks = [await blob.read(reader, one) for one in lengths]
        found = reduce(lambda checksum, chunk: crc32c(chunk, checksum), chunks, 0)
    _require(blob, number, found, await checksums.of(number))
    return chunks


async def _read_twice(
    blob: StoredBlob, span: ByteSpan, checksums: RecordedChecksums, budget: TransferBudget
) -> AsyncGenerator[bytes]:
    blocks, end = blocks_of(span), span.start + span.length
    start = span.start - span.start % REREAD_PIECE_BYTES
    async with AsyncExitStack() as opened:
        opened.enter_context(budget.lending(PIECES_IN_MEMORY * REREAD_PIECE_BYTES))
        first = await opened.enter_async_context(blob.open(blocks.start * BLOCK_BYTES))
        second = await opened.enter_async_context(blob.open(start))
        for number in blocks:
            block = block_span(number, blob.content.size_bytes)
            found, pieces = 0, []
            for piece in _pieces(block):
                chunk = await blob.read(first, piece.length)
                found = crc32c(chunk, found)
                pieces.append((piece, crc32c(chunk)))
                del chunk
            _require(blob, number, found, await checksums.of(number))
            for piece, expected in pieces:
                if start <= piece.start < end:
                    chunk = await blob.read(second, piece.length)
                    _require(blob, number, crc32c(chunk), expected)
                    (part,) = _cut([chunk], piece.start, span)
                    del chunk
                    yield part


def _require(blob: StoredBlob, number: int, found: int, expected: int | None) -> None:
    span = block_span(number, blob.content.size_bytes)
    require_checksum(blob.location.store, span, found, expected)


def _pieces(block: ByteSpan) -> Iterator[ByteSpan]:
    for offset in range(0, block.length, REREAD_PIECE_BYTES):
        yield ByteSpan(block.start + offset, min(REREAD_PIECE_BYTES, block.length - offset))


def _cut(chunks: Iterable[bytes], start: int, span: ByteSpan) -> Iterator[bytes]:
    """The parts of chunks that are in the span; the first chunk begins at ``start``."""
    for chunk in chunks:
        part = chunk[max(span.start - start, 0) : max(span.start + span.length - start, 0)]
        if part:
            yield part
        start += len(chunk)
