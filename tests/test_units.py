"""Durations and sizes as operators write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from imaged.units import (
    MAX_DURATION,
    MAX_SIZE_BYTES,
    approximate_duration,
    approximate_size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    pluralize,
    short_duration,
)

DURATIONS = [
    ("0", timedelta(0)),
    ("0s", timedelta(0)),
    ("30s", timedelta(seconds=30)),
    ("500ms", timedelta(milliseconds=500)),
    ("1.5s", timedelta(seconds=1.5)),
    ("1h30m", timedelta(minutes=90)),
    ("24h", timedelta(days=1)),
    ("30d", timedelta(days=30)),
    ("2w", timedelta(days=14)),
    ("36500d", MAX_DURATION),
]

SIZES = [
    ("0", 0),
    ("0B", 0),
    ("512B", 512),
    ("1KB", 1000),
    ("1KiB", 1024),
    ("256MiB", 256 * 1024**2),
    ("256 MiB", 256 * 1024**2),
    ("256mib", 256 * 1024**2),
    ("1.5GiB", 3 * 1024**3 // 2),
    ("1TB", 10**12),
    ("8191PiB", 8191 * 1024**5),
]

NO_DURATIONS = ["", "1", "5 minutes", "1y", "-1s", "s", "1h 30m", "1H", "٣s", "9" * 20 + "s"]
TOO_LONG = ["36501d", "5300w", "999999999999999w"]
NO_SIZES = ["", "1", "12G", "1 kilobyte", "-1MiB", "MiB", "1MiB1KiB", "٣MiB", "9" * 20 + "B"]
NO_TEXTS = [None, 0, 5, 1.5, True, ["1s"], timedelta(1)]


@pytest.mark.parametrize(("text", "duration"), DURATIONS)
def test_durations_are_read(text: str, duration: timedelta) -> None:
    """A number and a unit, several of them, or 0."""
    assert duration == parse_duration(text)


@pytest.mark.parametrize("text", [*NO_DURATIONS, *NO_TEXTS])
def test_a_wrong_duration_is_explained(text: object) -> None:
    """The message has the units and an example."""
    with pytest.raises(ValueError, match=r'units .*"24h"'):
        parse_duration(text)


@pytest.mark.parametrize("text", TOO_LONG)
def test_durations_end_before_the_calendar_does(text: str) -> None:
    """What would not fit into a date is refused, and not met later."""
    with pytest.raises(ValueError, match="hundred years"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size_bytes"), SIZES)
def test_sizes_are_read(text: str, size_bytes: int) -> None:
    """A number and a unit, in any case, or 0."""
    assert size_bytes == parse_size(text)


@pytest.mark.parametrize("text", [*NO_SIZES, *NO_TEXTS])
def test_a_wrong_size_is_explained(text: object) -> None:
    """The message has the units and an example."""
    with pytest.raises(ValueError, match=r'unit .*"256MiB"'):
        parse_size(text)


def test_sizes_fit_into_a_database() -> None:
    """More than an integer of 64 bits holds is refused."""
    assert parse_size("8191PiB") <= MAX_SIZE_BYTES
    with pytest.raises(ValueError, match="8192PiB"):
        parse_size("8192PiB")


@given(some.integers(0, MAX_DURATION // timedelta(milliseconds=1)))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    """Writing and reading gives the same, to the millisecond."""
    duration = timedelta(milliseconds=milliseconds)

    assert duration == parse_duration(format_duration(duration))


@given(some.integers(0, 2**49))
def test_sizes_are_written_as_they_are_read(size_bytes: int) -> None:
    """Writing and reading gives the same, to the byte."""
    assert size_bytes == parse_size(format_size(size_bytes))


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(milliseconds=900), "0s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(hours=23, minutes=59, seconds=59), "23h59m"),
        (timedelta(days=29, seconds=1), "29d1s"),
    ],
)
def test_durations_are_told_in_two_units(duration: timedelta, text: str) -> None:
    """People want to know about how long."""
    assert text == approximate_duration(duration)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 1024**4, "3.0 TiB")],
)
def test_sizes_are_told_with_a_digit(size_bytes: int, text: str) -> None:
    """People want to know about how much."""
    assert text == approximate_size(size_bytes)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (21, "21 images")]
)
def test_only_one_is_told_without_an_s(count: int, text: str) -> None:
    """People read it as a sentence."""
    assert text == pluralize(count, "image")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "1 s"),
        (42, "42 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7140, "119 min"),
        (7141, "2 h"),
        (7200, "2 h"),
        (86_400, "24 h"),
    ],
)
def test_durations_can_be_read_at_a_glance(seconds: float, text: str) -> None:
    """A duration has one unit and is rounded up."""
    assert short_duration(timedelta(seconds=seconds)) == text
