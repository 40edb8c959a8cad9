"""Ranges of bytes against sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.byte_range import ByteRange, ByteSpan
from imaged.core.errors import UnsatisfiableRange

SATISFIABLE = [
    (ByteRange(0, 0), 10, ByteSpan(0, 1)),
    (ByteRange(0, 9), 10, ByteSpan(0, 10)),
    (ByteRange(0, 99), 10, ByteSpan(0, 10)),
    (ByteRange(9, 9), 10, ByteSpan(9, 1)),
    (ByteRange(3, 5), 10, ByteSpan(3, 3)),
    (ByteRange(0, None), 10, ByteSpan(0, 10)),
    (ByteRange(9, None), 10, ByteSpan(9, 1)),
    (ByteRange(None, 1), 10, ByteSpan(9, 1)),
    (ByteRange(None, 10), 10, ByteSpan(0, 10)),
    (ByteRange(None, 11), 10, ByteSpan(0, 10)),
]
UNSATISFIABLE = [
    (ByteRange(10, None), 10),
    (ByteRange(10, 12), 10),
    (ByteRange(5, 4), 10),
    (ByteRange(None, 0), 10),
    (ByteRange(None, None), 10),
    (ByteRange(0, None), 0),
    (ByteRange(0, 0), 0),
    (ByteRange(None, 5), 0),
]


@pytest.mark.parametrize(("wanted", "size_bytes", "span"), SATISFIABLE)
def test_ranges_that_can_be_had(wanted: ByteRange, size_bytes: int, span: ByteSpan) -> None:
    """A range becomes a start and a length inside of the image."""
    assert wanted.within(size_bytes) == span


@pytest.mark.parametrize(("wanted", "size_bytes"), UNSATISFIABLE)
def test_ranges_that_cannot_be_had(wanted: ByteRange, size_bytes: int) -> None:
    """A range without a single byte in it is refused, with the image's size."""
    with pytest.raises(UnsatisfiableRange) as refusal:
        wanted.within(size_bytes)

    assert refusal.value.size_bytes == size_bytes


@given(st.none() | st.integers(0, 100), st.none() | st.integers(0, 100), st.integers(0, 60))
def test_a_span_is_what_slicing_gives(first: int | None, last: int | None, size_bytes: int) -> None:
    """Python's own slices are the oracle."""
    data = bytes(range(size_bytes))
    if first is None:
        expected = data[-last:] if last else b""
    else:
        expected = data[first:] if last is None else data[first : last + 1]

    try:
        span = ByteRange(first, last).within(size_bytes)
    except UnsatisfiableRange:
        assert not expected
    else:
        assert data[span.start : span.start + span.length] == expected
