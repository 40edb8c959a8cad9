"""The digests of a stream: a configurable one, and MD5, which the API calls the checksum.

An image may be without the checksum: hosts in FIPS mode have no MD5, and it costs time.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

CHECKSUM = "md5"
EMPTY_CHECKSUM = "d41d8cd98f00b204e9800998ecf8427e"  # of no bytes


class Digest:
    """One digest. hashlib releases the GIL while it adds a chunk."""

    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)
        self.feed: Callable[[bytes | memoryview], None] = self._hash.update
        self.hexdigest: Callable[[], str] = self._hash.hexdigest  # of all bytes fed so far


@dataclass(frozen=True, slots=True)
class ExpectedDigest:
    """The digest that data must have. ``value``: hexadecimal, in either case."""

    algorithm: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The digest that ``ALGORITHM:HEXADECIMAL`` names. Raises ValueError."""
        algorithm, _, value = text.lower().partition(":")
        if not is_supported_algorithm(algorithm):
            raise ValueError(f"{algorithm[:40]!r} is no digest that this server has")
        digits = 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size
        if len(value) != digits or set(value) - set(string.hexdigits):
            raise ValueError(f"a {algorithm} has {digits} hexadecimal digits")
        return cls(algorithm, value)


def is_supported_algorithm(algorithm: str) -> bool:
    """Whether hashlib provides the algorithm, with a digest of a fixed length."""
    if algorithm not in hashlib.algorithms_available:
        return False
    try:
        return hashlib.new(algorithm, usedforsecurity=False).digest_size > 0
    except ValueError:  # listed, but not allowed by this machine's OpenSSL
        return False
