"""The Range header (RFC 9110, section 14.2): one range of bytes, or none."""

from __future__ import annotations

import re

from imaged.core.byte_range import ByteRange
from imaged.core.errors import InvalidRequest

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


def wanted_range(header: str | None) -> ByteRange | None:
    """Read the header. Raises InvalidRequest for what is no single range of bytes."""
    if header is None:
        return None
    if "," in header:
        raise InvalidRequest("The header Range may name one range only; ask again for the others.")
    match = _RANGE.fullmatch("".join(header.split()))
    first, last = (_number(text) for text in match.groups()) if match else (None, None)
    if first is None and last is None:
        raise InvalidRequest(f"The header Range is {header!r}; it must be like 'bytes=0-99'.")
    if first is not None and last is not None and last < first:
        raise InvalidRequest(f"The header Range is {header!r}; it ends before it begins.")
    return ByteRange(first, last)


def _number(digits: str) -> int | None:
    return int(digits) if digits else None
