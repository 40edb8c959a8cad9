"""A block: consecutive chunks of a body, about 1 MiB in total, passed through the lanes.

The chunks stay as they were received, because joining them would copy every byte once more. Zeros
in them need not be written, because a file may have holes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

UNIT_BYTES = 64 * 1024  # whole blocks of any filesystem; smaller holes cost more than they save
_ZEROS = bytes(UNIT_BYTES)


class Block:
    """Chunks in order. ``on_release`` is called with the size when the last reference is
    dropped.
    """

    __slots__ = ("_on_release", "chunks", "size_bytes")

    def __init__(
        self,
        chunks: Sequence[bytes],
        size_bytes: int | None = None,
        on_release: Callable[[int], None] | None = None,
    ) -> None:
        self.chunks = chunks
        self.size_bytes = sum(map(len, chunks)) if size_bytes is None else size_bytes
        self._on_release = on_release

    def __del__(self) -> None:
        """Report the released bytes to the transfer budget. May run in any thread."""
        if self._on_release is not None:
            self._on_release(self.size_bytes)


def split_holes(chunks: Sequence[bytes], offset: int) -> Iterator[int | list[bytes]]:
    """Split chunks, in order, into lists of data to write and sizes of holes to skip, in bytes.

    ``offset``: the position of the first byte in the file. A hole begins and ends at a multiple of
    ``UNIT_BYTES``, within one chunk. The search costs a few microseconds for each mebibyte, and
    data is copied only if its chunk has a hole.
    """
    data: list[bytes] = []
    for chunk in chunks:
        start = 0
        for first, end in _holes(chunk, offset):
            if first > start:
                data.append(chunk[start:first])
            if data:
                yield data
                data = []
            yield end - first
            start = end
        if start < len(chunk):
            data.append(chunk[start:] if start else chunk)
        offset += len(chunk)
    if data:
        yield data


def _holes(chunk: bytes, offset: int) -> Iterator[tuple[int, int]]:
    """The start and end of each run of zeros in a chunk."""
    begin: int | None = None
    at = -offset % UNIT_BYTES
    while at + UNIT_BYTES <= len(chunk):
        is_zero = chunk.startswith(_ZEROS, at)
        if is_zero and begin is None:
            begin = at
        elif not is_zero and begin is not None:
            yield begin, at
            begin = None
        at += UNIT_BYTES
    if begin is not None:
        yield begin, at
