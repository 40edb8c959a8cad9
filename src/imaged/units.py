"""Parses and formats durations and sizes as operators write them: "24h", "256MiB", "1TB", "0".

It also formats durations, sizes and counts approximately, for people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from math import ceil

DURATION_UNITS: Mapping[str, timedelta] = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}

SIZE_UNITS: Mapping[str, int] = {
    "PiB": 1024**5,
    "PB": 1000**5,
    "TiB": 1024**4,
    "TB": 1000**4,
    "GiB": 1024**3,
    "GB": 1000**3,
    "MiB": 1024**2,
    "MB": 1000**2,
    "KiB": 1024,
    "KB": 1000,
    "B": 1,
}

MAX_DURATION = timedelta(days=36_500)
MAX_SIZE_BYTES = 2**63 - 1  # the largest integer of the databases
MAX_COUNT = 10**18 - 1
UNLIMITED = "unlimited"
MICROSECOND = timedelta(microseconds=1)
SHORT_SECONDS = SHORT_MINUTES = 120  # from here on, a short duration is in the next unit
YEAR_SECONDS = 31_556_952  # of the Gregorian calendar
AGE_UNITS = (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48), ("days", 86_400, 730))

_AMOUNT = r"(\d{1,15}(?:\.\d{1,9})?)"
_PART = re.compile(
    rf"{_AMOUNT}({'|'.join(sorted(DURATION_UNITS, key=len, reverse=True))})", re.ASCII
)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_SIZE = re.compile(rf"{_AMOUNT} ?({'|'.join(SIZE_UNITS)})", re.ASCII | re.IGNORECASE)
_SIZES_ANY_CASE = {unit.lower(): size_bytes for unit, size_bytes in SIZE_UNITS.items()}


def parse_duration(text: object) -> timedelta:
    """Return the duration. Raises ValueError that names the allowed forms."""
    allowed = 'must be a duration with units (w, d, h, m, s, ms) such as "24h" or "1h30m", or "0"'
    if text == "0":
        return timedelta(0)
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError(allowed)
    parts = _PART.findall(text)
    microseconds = sum(
        Decimal(amount) * (DURATION_UNITS[unit] // MICROSECOND) for amount, unit in parts
    )
    if microseconds > MAX_DURATION // MICROSECOND:
        raise ValueError("must be a hundred years at most")
    return timedelta(microseconds=int(microseconds))


def parse_size(text: object) -> int:
    """Return the size in bytes. Raises ValueError that names the allowed forms."""
    if text == "0":
        return 0
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(
            "must be a size with a unit (B, KiB, MiB, GiB, TiB, PiB, or KB, MB, GB, TB, PB) "
            'such as "256MiB" or "1TB", or "0"'
        )
    size_bytes = int(Decimal(found[1]) * _SIZES_ANY_CASE[found[2].lower()])
    if size_bytes > MAX_SIZE_BYTES:
        raise ValueError("must be less than 8192PiB")
    return size_bytes


def format_duration(duration: timedelta) -> str:
    """Return text that ``parse_duration`` reads back, exact to the millisecond."""
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, duration = divmod(duration, DURATION_UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0"


def format_size(size_bytes: int) -> str:
    """Return text that ``parse_size`` reads back, in the largest unit that divides the size."""
    for unit, unit_bytes in SIZE_UNITS.items():
        if size_bytes and size_bytes % unit_bytes == 0:
            return f"{size_bytes // unit_bytes}{unit}"
    return "0"


def parse_size_limit(text: object) -> int | None:
    """Return the size in bytes, or None for "unlimited". Raises ValueError that says so."""
    if text == UNLIMITED:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise ValueError(f'{error}, or "{UNLIMITED}"') from None


def parse_count_limit(text: object) -> int | None:
    """Return the number, or None for "unlimited". Raises ValueError that names both."""
    if text == UNLIMITED:
        return None
    if isinstance(text, str) and re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return int(text)
    if type(text) is int and 0 <= text <= MAX_COUNT:
        return text
    raise ValueError(f'must be a number from 0 to {MAX_COUNT}, or "{UNLIMITED}"')


def format_size_limit(limit_bytes: int | None) -> str:
    """Return text that ``parse_size_limit`` reads back."""
    return UNLIMITED if limit_bytes is None else format_size(limit_bytes)


def approximate_size(size_bytes: int) -> str:
    """Return a size with one decimal, such as "1.5 GiB"."""
    unit = _unit(size_bytes)
    return f"{_in_unit(size_bytes, unit)} {unit}"


def approximate_sizes(part_bytes: int, whole_bytes: int) -> str:
    """Return two sizes in the unit of the larger one: "0.5 of 1.5 GiB"."""
    unit = _unit(whole_bytes)
    return f"{_in_unit(part_bytes, unit)} of {_in_unit(whole_bytes, unit)} {unit}"


def _unit(size_bytes: int) -> str:
    units = ("TiB", "GiB", "MiB", "KiB")
    return next((unit for unit in units if size_bytes >= SIZE_UNITS[unit]), "B")


def _in_unit(size_bytes: int, unit: str) -> str:
    return str(size_bytes) if unit == "B" else f"{size_bytes / SIZE_UNITS[unit]:.1f}"


def approximate_duration(duration: timedelta) -> str:
    """Return a duration in its two largest units, such as "1h30m"."""
    if duration < DURATION_UNITS["s"]:
        return "0s"
    text = format_duration(duration - duration % DURATION_UNITS["s"])
    return "".join(re.findall(r"\d+[a-z]+", text)[:2])


def age_in_words(duration: timedelta) -> str:
    """Return how long ago something was, in one unit, rounded down: ``42 s``, ``3 h``, ``5 days``.
    A moment in the future, by another clock, is ``0 s`` ago.
    """
    seconds = max(0, int(duration.total_seconds()))
    for unit, unit_seconds, most in AGE_UNITS:
        if seconds < most * unit_seconds:
            return f"{seconds // unit_seconds} {unit}"
    return f"{seconds // YEAR_SECONDS} years"


def short_duration(duration: timedelta) -> str:
    """Return a duration in one unit: ``42 s``, ``5 min``, ``6 h``.

    It is rounded up: a waiting time is not over earlier.
    """
    seconds = ceil(duration.total_seconds())
    if seconds < SHORT_SECONDS:
        return f"{seconds} s"
    minutes = ceil(seconds / 60)
    return f"{minutes} min" if minutes < SHORT_MINUTES else f"{ceil(minutes / 60)} h"


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun: "1 image", "2 images". The noun's plural must end in s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
