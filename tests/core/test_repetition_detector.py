"""Bytes that are one short piece, again and again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.repetition_detector import LONGEST_PERIOD_BYTES, RepetitionDetector

PIECES = st.binary(min_size=1, max_size=30)


def repeats(text: bytes, cuts: int = 1000) -> bool:
    """What is said of a text that comes in parts."""
    repetition = RepetitionDetector()
    for start in range(0, len(text), cuts):
        repetition.feed(memoryview(text)[start : start + cuts])
    return repetition.is_repetitive


@pytest.mark.parametrize("period", [1, 2, 3, 64, 512, 4095, 4096])
@pytest.mark.parametrize("cuts", [1, 999, 100_000])
def test_what_repeats(period: int, cuts: int) -> None:
    """Periods of any length up to the longest, however the bytes are cut; whole periods or not."""
    piece = bytes((number * number + number // 256) % 251 + 1 for number in range(period))
    text = piece * (30_000 // period)

    assert repeats(text, cuts)
    assert repeats(text[:-1], cuts)
    changed = bytearray(text)
    changed[-1] ^= 1
    assert not repeats(bytes(changed), cuts)


def test_longer_periods_are_not_looked_for() -> None:
    """A disk of several copies of a large file is no repetition here."""
    piece = bytes((number * 7 + number // 256) % 251 for number in range(LONGEST_PERIOD_BYTES + 1))
    assert not repeats(piece * 5)


@given(PIECES, st.integers(2, 9), st.integers(1, 50))
def test_a_piece_several_times(piece: bytes, times: int, cuts: int) -> None:
    """Also where all of it is short."""
    assert repeats(piece * times, cuts)


@given(st.binary(max_size=60), st.integers(1, 50))
def test_it_is_what_it_says(text: bytes, cuts: int) -> None:
    """Against the plain definition."""
    shifts = range(1, len(text) // 2 + 1)
    plain = len(text) <= 1 or any(text[shift:] == text[:-shift] for shift in shifts)

    assert repeats(text, cuts) is plain
