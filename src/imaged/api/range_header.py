"""The header Range of a download (RFC 9110, section 14.2)."""

from __future__ import annotations

import re

from imaged.core.byte_range import ByteRange
from imaged.core.errors import InvalidRequest

MAX_RANGE_DIGITS = 18  # a larger number is beyond the end of any image

_RANGE_UNIT = "bytes"
_UNIT = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=", re.ASCII)  # a token, section 5.6.2
_RANGE = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII)


def parse_range(header: str | None) -> ByteRange | None:
    """Parse a Range header (RFC 9110, section 14.2); None if the whole is to be sent.

    As the RFC allows or requires, a unit other than bytes (14.2) and more than one range are
    ignored. Names of units are case-insensitive (14.1), and empty elements of the list are skipped
    (5.6.1). Raises InvalidRequest for an invalid range of bytes.
    """
    unit = None if header is None else _UNIT.match(header)
    if header is None or (unit is not None and unit[1].lower() != _RANGE_UNIT):
        return None
    elements = header[unit.end() :].split(",") if unit else []
    ranges = [element for element in elements if element.strip()]
    if len(ranges) > 1:
        return None
    match = _RANGE.fullmatch(ranges[0]) if ranges else None
    first, last = (_number(text) for text in match.groups()) if match else (None, None)
    if first is None and last is None:
        raise InvalidRequest(f"The header Range is {header!r}; it must be like 'bytes=0-99'.")
    if first is not None and last is not None and last < first:
        raise InvalidRequest(f"The header Range is {header!r}; it ends before it begins.")
    return ByteRange(first, last)


def _number(digits: str) -> int | None:
    """A number of any length; numbers beyond the end of any image are equivalent."""
    if not digits:
        return None
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) <= MAX_RANGE_DIGITS else 10**MAX_RANGE_DIGITS
