"""Byte ranges as in RFC 9110, section 14.1.2."""

from __future__ import annotations

from dataclasses import dataclass

from imaged.core.errors import UnsatisfiableRange


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """A span of existing bytes: ``length`` bytes from ``start``."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``first-last``, ``first-`` (last is None), or ``-suffix`` (first is None)."""

    first: int | None
    last: int | None

    def within(self, size_bytes: int) -> ByteSpan:
        """The span for data of this size. Raises UnsatisfiableRange."""
        if self.first is None:
            length = min(self.last or 0, size_bytes)
            start = size_bytes - length
        else:
            start = self.first
            end = size_bytes if self.last is None else min(self.last + 1, size_bytes)
            length = end - start
        if length <= 0:
            raise UnsatisfiableRange(size_bytes)
        return ByteSpan(start, length)
