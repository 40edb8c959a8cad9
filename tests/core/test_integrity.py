"""How the checksums of blocks are laid out, and what they are."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.byte_range import ByteSpan
from imaged.core.image import Content
from imaged.core.integrity import (
    BLOCK_BYTES,
    BLOCKS_PER_PAGE,
    CHECKSUM_BYTES,
    PAGE_BYTES,
    StoredContent,
    block_span,
    blocks_of,
    checksum_in,
    count_blocks,
    page_of,
    pages_of,
    problems_of,
)
from imaged.services.stream_checks import BlockChecksummer
from support.sample_images import content

TIB = 1024**4


RECORD = content()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (RECORD, None),
        (replace(RECORD, hash_algorithm="sha256", hash_value="of another algorithm"), None),
        (None, "is missing"),
        (replace(RECORD, size_bytes=99), "has 99 bytes, and not 100"),
        (replace(RECORD, checksum="other"), "has the checksum other, and not md5 of them"),
        (replace(RECORD, checksum=None), None),
        (replace(RECORD, hash_value="other"), "has the sha512 other, and not sha512 of them"),
    ],
)
def test_each_part_of_the_record_is_compared(found: Content | None, why: str | None) -> None:
    """One that differs is enough, and is told."""
    problems = problems_of(RECORD, StoredContent("near", found))

    assert list(problems) == ([] if why is None else [f"In the store 'near' the data {why}."])


@pytest.mark.parametrize(
    ("size_bytes", "blocks"),
    [(0, 0), (1, 1), (BLOCK_BYTES, 1), (BLOCK_BYTES + 1, 2), (TIB, 262_144)],
)
def test_how_many_blocks(size_bytes: int, blocks: int) -> None:
    """The last one may be shorter, and nothing at all has none."""
    assert count_blocks(size_bytes) == blocks


@pytest.mark.parametrize(
    ("start", "length", "blocks"),
    [
        (0, 1, range(1)),
        (0, BLOCK_BYTES, range(1)),
        (0, BLOCK_BYTES + 1, range(2)),
        (BLOCK_BYTES - 1, 2, range(2)),
        (BLOCK_BYTES, 1, range(1, 2)),
    ],
)
def test_the_blocks_of_a_range(start: int, length: int, blocks: range) -> None:
    """All that it touches, and no others."""
    assert blocks_of(ByteSpan(start, length)) == blocks


@given(st.integers(1, 2**44), st.data())
def test_blocks_are_a_partition(size_bytes: int, data: st.DataObject) -> None:
    """They follow each other, from the first byte to the last."""
    number = data.draw(st.integers(0, count_blocks(size_bytes) - 1))
    span = block_span(number, size_bytes)

    assert span.start == number * BLOCK_BYTES
    assert 0 < span.length <= BLOCK_BYTES
    is_last = number == count_blocks(size_bytes) - 1
    assert is_last == (span.start + span.length == size_bytes)
    assert blocks_of(span) == range(number, number + 1)


@pytest.mark.parametrize("blocks", [0, 1, BLOCKS_PER_PAGE, BLOCKS_PER_PAGE + 1])
def test_each_checksum_is_found_in_its_page(blocks: int) -> None:
    """Also the last one; behind it there is none."""
    checksums = b"".join(number.to_bytes(CHECKSUM_BYTES) for number in range(blocks))
    pages = dict(pages_of(checksums))

    assert b"".join(pages.values()) == checksums
    assert all(0 < len(page) <= PAGE_BYTES for page in pages.values())
    for number in {0, blocks - 1} & set(range(blocks)):
        assert checksum_in(pages[page_of(number)], number) == number
    assert checksum_in(pages.get(page_of(blocks), b""), blocks) is None


def test_the_checksum_is_that_of_the_standard() -> None:
    """RFC 3720, appendix B.4: 32 bytes of zeros have aa36918a, least significant byte first."""
    checksums = BlockChecksummer()
    checksums.feed(bytes(32))

    assert checksums.packed() == bytes.fromhex("8a9136aa")


def test_how_a_stream_is_cut_does_not_matter() -> None:
    """Chunks may end anywhere in a block, or be empty, or have several blocks."""
    chance = random.Random(1)
    data = chance.randbytes(2 * BLOCK_BYTES + 5)
    whole = BlockChecksummer()
    whole.feed(data)
    cuts = sorted(chance.sample(range(len(data)), 20))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    cut = BlockChecksummer()
    for piece in pieces:
        cut.feed(piece)
        cut.feed(b"")

    assert len(whole.packed()) == 3 * CHECKSUM_BYTES
    assert cut.packed() == whole.packed()
    for number in range(3):
        span = block_span(number, len(data))
        alone = BlockChecksummer()
        alone.feed(data[span.start : span.start + span.length])
        assert checksum_in(whole.packed(), number) == checksum_in(alone.packed(), 0)


def test_nothing_has_no_checksums() -> None:
    """An empty image has no block."""
    assert BlockChecksummer().packed() == b""
