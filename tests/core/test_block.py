"""Blocks of a body know their size, and tell when they are let go of."""

from __future__ import annotations

import gc

from imaged.core.block import Block


def test_a_block_measures_its_chunks() -> None:
    """Its size is that of all its chunks together."""
    assert Block([b"ab", b"", b"cde"]).size_bytes == 5


def test_a_block_believes_who_measured_before() -> None:
    """A size that is given is not worked out again."""
    assert Block([b"ab"], size_bytes=2).size_bytes == 2


def test_letting_go_is_told_once_with_the_size() -> None:
    """The last reference that goes gives its bytes back to who counts them."""
    released: list[int] = []
    block = Block([b"abc"], on_release=released.append)
    other = block
    del block
    assert not released

    del other
    gc.collect()

    assert released == [3]
