"""A block: consecutive chunks of a body, about 1 MiB in total, passed through the lanes.

The chunks stay as they were received, because joining them would copy every byte once more. Zeros
in them need not be written, because a file may have holes.

All blocks count in one budget for the bytes in flight. Transfers never wait for it: otherwise slow
clients would block all others. While much of it is free, blocks are large; as it fills, they shrink
to a minimum. So memory is bounded by the budget plus the minimum of each connection, and many
clients get slower instead of using more memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from imaged.core.limits import KIB, MIB

LARGEST_BLOCK_BYTES = 1 * MIB
SMALLEST_BLOCK_BYTES = 64 * KIB
ROOMY_DIVISOR = 2  # blocks have the largest size while 1/ROOMY_DIVISOR is free
SHARE_DIVISOR = 64  # otherwise a block takes 1/SHARE_DIVISOR of the free bytes
HOLE_BYTES = 64 * KIB  # whole blocks of any filesystem; smaller holes cost more than they save
_ZEROS = bytes(HOLE_BYTES)


class Block:
    """Chunks in order. ``on_release`` is called with the size when the last reference is
    dropped.

    Its bytes count in the transfer budget until then. So a loop over blocks deletes its variable
    before it waits for the next one.
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


Blocks = AsyncIterable[Block]


@dataclass
class TransferBudget:
    """Counts the bytes in flight."""

    total_bytes: int
    _lent_bytes: int = 0
    #: The returned bytes. A queue, because blocks are released in any thread, at any time.
    _returned: deque[int] = field(default_factory=deque)

    @property
    def free_bytes(self) -> int:
        """The bytes not in flight; negative if many clients needed more."""
        while self._returned:
            self._lent_bytes -= self._returned.popleft()
        return self.total_bytes - self._lent_bytes

    @property
    def block_bytes(self) -> int:
        """The size of the next block."""
        free = self.free_bytes
        if free * ROOMY_DIVISOR >= self.total_bytes:
            return LARGEST_BLOCK_BYTES
        return min(max(free // SHARE_DIVISOR, SMALLEST_BLOCK_BYTES), LARGEST_BLOCK_BYTES)

    def take(self, size_bytes: int) -> None:
        """Count bytes as in flight."""
        self._lent_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes as no longer in flight. May be called from any thread."""
        self._returned.append(size_bytes)

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether this size may be held for long: blocks would still have the largest size.

        A size up to the smallest block may always be held.
        """
        is_small = size_bytes <= SMALLEST_BLOCK_BYTES
        return is_small or (self.free_bytes - size_bytes) * ROOMY_DIVISOR >= self.total_bytes

    @contextmanager
    def lending(self, size_bytes: int) -> Iterator[None]:
        """Count this size as in flight while the block runs."""
        self.take(size_bytes)
        try:
            yield
        finally:
            self.give_back(size_bytes)

    def lend(self, chunks: list[bytes], size_bytes: int) -> Block:
        """Make a block of bytes already taken: in flight until its last reference is dropped."""
        return Block(chunks, size_bytes, self.give_back)


class DownloadBuffer:
    """The part of a download that is in memory: the last requested chunk, and the one before.

    A server accepts a chunk immediately, and requests the next one when the client has read it.
    """

    def __init__(self, budget: TransferBudget) -> None:
        self._budget = budget
        self._before = self._latest = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._before + self._latest)

    def take(self, size_bytes: int) -> None:
        """Count the next chunk; its request means that all chunks but the last were sent."""
        self._budget.give_back(self._before)
        self._budget.take(size_bytes)
        self._before, self._latest = self._latest, size_bytes


class TimedBlocks:
    """Blocks that also say how long their reader has waited for them.

    ``clock``: the present time in seconds.
    """

    def __init__(self, blocks: Blocks, clock: Callable[[], float]) -> None:
        self.waited_seconds = 0.0
        self._blocks = aiter(blocks)
        self._clock = clock

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Block:
        asked_at = self._clock()
        try:
            return await anext(self._blocks)
        finally:
            self.waited_seconds += self._clock() - asked_at


def split_holes(chunks: Sequence[bytes], offset: int) -> Iterator[int | list[bytes]]:
    """Split chunks, in order, into lists of data to write and sizes of holes to skip, in bytes.

    ``offset``: the position of the first byte in the file. A hole begins and ends at a multiple of
    ``HOLE_BYTES``, within one chunk. The search costs a few microseconds for each mebibyte, and
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
    at = -offset % HOLE_BYTES
    while at + HOLE_BYTES <= len(chunk):
        is_zero = chunk.startswith(_ZEROS, at)
        if is_zero and begin is None:
            begin = at
        elif not is_zero and begin is not None:
            yield begin, at
            begin = None
        at += HOLE_BYTES
    if begin is not None:
        yield begin, at
