"""Computes the CRC-32C of each block of a stream, with a C library (docs/decisions/0032)."""

from __future__ import annotations

from collections.abc import Sequence

from crc32c import crc32c

from imaged.core.integrity import BLOCK_BYTES, CHECKSUM_BYTES


def extend_checksum(checksum: int, chunk: bytes | memoryview) -> int:
    """Extend the CRC-32C of the preceding bytes by this chunk; the first chunk extends 0.

    Takes 50 µs for a mebibyte, without holding the GIL.
    """
    return crc32c(chunk, checksum)


class BlockChecksummer:
    """The checksums of the blocks of one stream (``core/integrity.py``)."""

    def __init__(self) -> None:
        self._complete = bytearray()
        self._checksum = 0
        self._block_bytes = 0  # of the incomplete block

    def feed(self, chunks: Sequence[bytes]) -> None:
        """Add the next chunks, of any size."""
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                room = BLOCK_BYTES - self._block_bytes
                self._checksum = extend_checksum(self._checksum, rest[:room])
                self._block_bytes += len(rest[:room])
                rest = rest[room:]
                if self._block_bytes == BLOCK_BYTES:
                    self._complete += self._checksum.to_bytes(CHECKSUM_BYTES)
                    self._checksum = self._block_bytes = 0

    def packed(self) -> bytes:
        """The checksums of all bytes fed, 4 bytes for each block."""
        last = self._checksum.to_bytes(CHECKSUM_BYTES) if self._block_bytes else b""
        return bytes(self._complete) + last
