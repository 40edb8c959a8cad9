"""Compares stored bytes with their record, and marks images whose data is damaged.

The digests of an image verify the whole; block checksums verify any range of bytes without reading
the whole. A blob is divided into blocks of 4 MiB; the last one may be shorter. Each block has a
CRC-32C (RFC 3720, section 12.1). The checksums of a blob are those of its blocks in order, 4 bytes
each, most significant byte first: 1 MiB for 1 TiB. A catalog stores them in pages, so that a reader
needs at most 16 KiB of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from imaged.core.byte_range import ByteSpan
from imaged.core.errors import DataDamaged
from imaged.core.image import Change, Content, Image
from imaged.core.lifecycle import RESTORE_EVENTS
from imaged.core.limits import MIB

BLOCK_BYTES = 4 * MIB
CHECKSUM_BYTES = 4
BLOCKS_PER_PAGE = 4096  # 16 GiB of data
PAGE_BYTES = BLOCKS_PER_PAGE * CHECKSUM_BYTES


@dataclass(frozen=True, slots=True)
class StoredContent:
    """The actual content of one store; None if the blob is missing there."""

    store: str
    found: Content | None


def problems_of(content: Content, reading: StoredContent) -> Sequence[str]:
    """The differences from the record, each as a sentence for the image's owner."""
    found, where = reading.found, f"In the store {reading.store!r}"
    if found is None:
        return (f"{where} the data is missing.",)
    if found.size_bytes != content.size_bytes:
        return (f"{where} the data has {found.size_bytes} bytes, and not {content.size_bytes}.",)
    compared = []
    if None not in {found.checksum, content.checksum}:
        compared.append(("checksum", found.checksum, content.checksum))
    if found.hash_algorithm == content.hash_algorithm:  # otherwise the checksum has to suffice
        compared.append((content.hash_algorithm, found.hash_value, content.hash_value))
    return tuple(
        f"{where} the data has the {name} {is_now}, and not {was}."
        for name, is_now, was in compared
        if is_now != was
    )


def require_undamaged(content: Content, reading: StoredContent) -> None:
    """Raise DataDamaged unless the bytes match their record."""
    if problems := problems_of(content, reading):
        raise DataDamaged(problems)


def require_checksum(store: str, span: ByteSpan, found: int, expected: int | None) -> None:
    """Raise DataDamaged if the CRC-32C of a block differs from its record, if it has one."""
    if expected is None or found == expected:
        return
    where = f"In the store {store!r} the bytes {span.start} to {span.start + span.length - 1}"
    raise DataDamaged([f"{where} have the CRC-32C {found:08x}, and not {expected:08x}."])


def is_damaged(image: Image) -> bool:
    """Whether an operator must act: the image has damaged data and is not deleted."""
    return image.damage is not None and image.status in RESTORE_EVENTS


def mark_damage(seen: Image, problems: Sequence[str]) -> Change:
    """Record the problems found, or that there are none; no change if the data was replaced."""

    def change(image: Image) -> Image:
        damage = " ".join(problems) or None
        if image.locations != seen.locations or image.damage == damage:
            return image
        return replace(image, damage=damage)

    return change


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
