"""Limits of sizes and numbers, and the checks of a body's length."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from imaged.core.errors import PropertiesTooLarge, SizeMismatch, TooLarge

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

MAX_NAME_LENGTH = 255
MAX_TAG_LENGTH = 255
MAX_OWNER_LENGTH = 255
MAX_FORMAT_LENGTH = 64
MAX_PROPERTY_NAME_LENGTH = 255
MAX_PROPERTY_VALUE_LENGTH = 65_535
MAX_PROPERTIES = 128
MAX_TAGS = 128
MAX_REQUEST_BYTES = 64 * KIB  # of a JSON body
SMALL_BODY_BYTES = 64 * KIB  # of data: hashing it takes less time than handing it to threads
MAX_INTEGER = 2**31 - 1  # of min_ram and min_disk

NO_SPACE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # a disk's, or of a quota


def require_announced(announced_bytes: int | None, limit_bytes: int) -> None:
    """Refuse a body whose announced length is too large. Raises TooLarge."""
    if announced_bytes is not None and announced_bytes > limit_bytes:
        raise TooLarge(limit_bytes)


def require_within(received_bytes: int, announced_bytes: int | None, limit_bytes: int) -> None:
    """Refuse a body as soon as it exceeds a limit. Raises TooLarge, SizeMismatch."""
    if received_bytes > limit_bytes:
        raise TooLarge(limit_bytes)
    if announced_bytes is not None and received_bytes > announced_bytes:
        raise SizeMismatch(announced_bytes, received_bytes)


def require_complete(received_bytes: int, announced_bytes: int | None) -> None:
    """Refuse a body that is shorter than announced. Raises SizeMismatch."""
    if announced_bytes is not None and received_bytes != announced_bytes:
        raise SizeMismatch(announced_bytes, received_bytes)


def size_of_properties(properties: Mapping[str, object]) -> int:
    """The total size of all names and values in UTF-8, in bytes."""
    return sum(len(name.encode()) + len(str(value).encode()) for name, value in properties.items())


def require_properties_within(
    properties: Mapping[str, object],
    limit_bytes: int,
    before: Mapping[str, object] | None = None,
) -> None:
    """Refuse properties whose total size exceeds the limit. Raises PropertiesTooLarge.

    ``before``: the properties that the image has; if they exceed the limit already, they may stay
    or shrink.
    """
    size_bytes = size_of_properties(properties)
    if size_bytes > max(limit_bytes, size_of_properties(before or {})):
        raise PropertiesTooLarge(size_bytes, limit_bytes)
