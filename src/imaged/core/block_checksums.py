"""The layout of the block checksums of a blob.

A blob is divided into blocks of 4 MiB; the last one may be shorter. Each block has a CRC-32C (RFC
3720, section 12.1). The checksums of a blob are those of its blocks in order, 4 bytes each, most
significant byte first: 1 MiB for 1 TiB. A catalog stores them in pages, so that a reader needs at
most 16 KiB of them at a time.

Block checksums verify any range of bytes without reading the whole blob, unlike the digests of an
image.
"""

from __future__ import annotations

from collections.abc import Iterator

from imaged.core.byte_range import ByteSpan
from imaged.core.limits import MIB

BLOCK_BYTES = 4 * MIB
CHECKSUM_BYTES = 4
BLOCKS_PER_PAGE = 4096  # 16 GiB of data
PAGE_BYTES = BLOCKS_PER_PAGE * CHECKSUM_BYTES


def count_blocks(size_bytes: int) -> int:
    """The number of blocks in a blob of this size; 0 if it is empty."""
    return -(-size_bytes // BLOCK_BYTES)


def blocks_of(span: ByteSpan) -> range:
    """The numbers of the blocks that the span overlaps; the first block of a blob is 0."""
    return range(span.start // BLOCK_BYTES, count_blocks(span.start + span.length))


def block_span(number: int, size_bytes: int) -> ByteSpan:
    """The position of the block in a blob of this size."""
    start = number * BLOCK_BYTES
    return ByteSpan(start, min(BLOCK_BYTES, size_bytes - start))


def pages_of(checksums: bytes) -> Iterator[tuple[int, bytes]]:
    """The checksums of a blob in pages, each with its number; the first page is 0."""
    for start in range(0, len(checksums), PAGE_BYTES):
        yield start // PAGE_BYTES, checksums[start : start + PAGE_BYTES]


def page_of(number: int) -> int:
    """The number of the page that has the checksum of this block."""
    return number // BLOCKS_PER_PAGE


def checksum_in(page: bytes, number: int) -> int | None:
    """The checksum of this block in its page; None where the page ends before it."""
    start = number % BLOCKS_PER_PAGE * CHECKSUM_BYTES
    found = page[start : start + CHECKSUM_BYTES]
    return int.from_bytes(found) if len(found) == CHECKSUM_BYTES else None
