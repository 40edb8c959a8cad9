"""The digests of a stream: MD5, which the API calls the checksum, and a configurable one."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence

CHECKSUM = "md5"


class Digest:
    """One digest, fed with sequences of chunks."""

    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def feed(self, block: Sequence[bytes | memoryview]) -> None:
        """Add the next chunks. hashlib releases the GIL meanwhile."""
        for chunk in block:
            self._hash.update(chunk)

    def hexdigest(self) -> str:
        """The digest of all bytes fed so far, in hexadecimal."""
        return self._hash.hexdigest()


def parse_expected_digest(text: str) -> tuple[str, str]:
    """Algorithm and value of ``ALGORITHM:HEXADECIMAL``. Raises ValueError."""
    algorithm, _, value = text.partition(":")
    algorithm, value = algorithm.lower(), value.lower()
    if not is_supported_algorithm(algorithm):
        raise ValueError(f"{algorithm[:40]!r} is no digest that this server has")
    digits = 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size
    if len(value) != digits or set(value) - set(string.hexdigits):
        raise ValueError(f"a {algorithm} has {digits} hexadecimal digits")
    return algorithm, value


def is_supported_algorithm(algorithm: str) -> bool:
    """Whether hashlib provides the algorithm, with a digest of a fixed length."""
    if algorithm not in hashlib.algorithms_available:
        return False
    try:
        return hashlib.new(algorithm, usedforsecurity=False).digest_size > 0
    except ValueError:  # listed, but not allowed by this machine's OpenSSL
        return False
