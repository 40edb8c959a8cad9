"""Ranges of bytes against sizes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imaged.core.byte_range import ByteRange
from imaged.core.errors import UnsatisfiableRange


@example(0, 9, 10)
@example(0, 10, 10)
@example(9, None, 10)
@example(10, None, 10)
@example(5, 4, 10)
@example(None, 10, 10)
@example(None, 11, 10)
@example(None, 0, 10)
@example(None, None, 10)
@example(0, 0, 0)
@given(st.none() | st.integers(0, 100), st.none() | st.integers(0, 100), st.integers(0, 60))
def test_a_span_is_what_slicing_gives(first: int | None, last: int | None, size_bytes: int) -> None:
    """Python's own slices are the oracle; where they are empty, the size is told."""
    data = bytes(range(size_bytes))
    if first is None:
        expected = data[-last:] if last else b""
    else:
        expected = data[first:] if last is None else data[first : last + 1]

    if expected:
        span = ByteRange(first, last).within(size_bytes)
        assert data[span.start : span.start + span.length] == expected
    else:
        with pytest.raises(UnsatisfiableRange) as refusal:
            ByteRange(first, last).within(size_bytes)
        assert refusal.value.size_bytes == size_bytes
