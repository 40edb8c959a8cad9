"""Blocks of a body know their size, and tell when they are let go of."""

from __future__ import annotations

import gc
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from imaged.core.block import HOLE_BYTES, Block, split_holes


def test_a_block_measures_its_chunks() -> None:
    """Its size is that of all its chunks together."""
    assert Block([b"ab", b"", b"cde"]).size_bytes == 5


def test_letting_go_is_told_once_with_the_size() -> None:
    """Dropping the last reference gives its bytes back to the budget."""
    released: list[int] = []
    block = Block([b"abc"], on_release=released.append)
    other = block
    del block
    assert not released

    del other
    gc.collect()

    assert released == [3]


ZEROS, DATA = bytes(HOLE_BYTES), b"x" * HOLE_BYTES
PARTS = st.sampled_from([ZEROS, DATA, bytes(1000), bytes(HOLE_BYTES - 1), b"y", b""])
CHUNKS = st.lists(st.lists(PARTS, max_size=4).map(b"".join), max_size=4)


@given(CHUNKS, st.sampled_from([0, 1, HOLE_BYTES, 3 * HOLE_BYTES + 5]))
def test_nothing_is_lost(chunks: list[bytes], offset: int) -> None:
    """Data and holes, one after the other, are the body; holes begin and end at whole units."""
    found = list(split_holes(chunks, offset))
    lengths = [piece if isinstance(piece, int) else sum(map(len, piece)) for piece in found]
    ends = list(accumulate(lengths, initial=offset))

    whole = b"".join(bytes(p) if isinstance(p, int) else b"".join(p) for p in found)
    assert whole == b"".join(chunks)
    assert all(lengths)
    for piece, begin, end in zip(found, ends, ends[1:], strict=False):
        if isinstance(piece, int):
            assert begin % HOLE_BYTES == end % HOLE_BYTES == 0


def test_zeros_are_left_out() -> None:
    """Runs of them are one hole; what has none is passed on as it is, and not copied."""
    assert list(split_holes([ZEROS + ZEROS], 0)) == [2 * HOLE_BYTES]
    assert list(split_holes([DATA + ZEROS + DATA + ZEROS], 0)) == [
        [DATA],
        HOLE_BYTES,
        [DATA],
        HOLE_BYTES,
    ]
    (same,) = split_holes([DATA, b"end"], 0)
    assert isinstance(same, list)
    assert same[0] is DATA


def test_zeros_between_units_are_written() -> None:
    """A hole that no filesystem has whole blocks for saves nothing."""
    assert list(split_holes([ZEROS], 1)) == [[ZEROS]]
    assert list(split_holes([bytes(HOLE_BYTES - 1)], 0)) == [[bytes(HOLE_BYTES - 1)]]
