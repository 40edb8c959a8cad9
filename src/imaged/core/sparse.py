"""What of a body need not be written: zeros, for which a file may have holes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

UNIT_BYTES = 64 * 1024  # whole blocks of any filesystem; smaller holes cost more than they save
_ZEROS = bytes(UNIT_BYTES)


def split_holes(chunks: Sequence[bytes], offset: int) -> Iterator[int | list[bytes]]:
    """Cut a body into what is to be written and how many bytes are to be left out, in order.

    ``offset``: where its first byte goes in the file. A hole begins and ends at a multiple of
    ``UNIT_BYTES``, in one chunk. Looking for it costs a few microseconds for each mebibyte of data,
    and data is copied only where its chunk has a hole.
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
    """Where a chunk has zeros, each run once."""
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
