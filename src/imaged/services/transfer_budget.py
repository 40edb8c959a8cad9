"""One budget for the bytes of all transfers in flight.

Nobody ever waits for it: waiting would let slow clients starve the others. While much is free,
blocks are large; as it fills, they shrink to a floor. So memory is bounded by the budget and the
floor of each connection, and a crowd gets slower instead of larger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from imaged.core.block import Block
from imaged.core.limits import KIB, MIB

LARGEST_BLOCK_BYTES = 1 * MIB
SMALLEST_BLOCK_BYTES = 64 * KIB
ROOMY_DIVISOR = 2  # while one part in so many is free, blocks are of the largest size
SHARE_DIVISOR = 64  # after that, a block takes one part in so many of what is left
MAX_BLOCK_CHUNKS = 256  # more chunks than this in a block are joined: each costs memory of its own


@dataclass
class TransferBudget:
    """Counts the bytes in flight."""

    total_bytes: int
    _lent_bytes: int = 0
    #: What came back. A queue, because blocks are let go in any thread, at any moment.
    _returned: deque[int] = field(default_factory=deque)

    @property
    def free_bytes(self) -> int:
        """What is not in flight; negative where a crowd needed more."""
        while self._returned:
            self._lent_bytes -= self._returned.popleft()
        return self.total_bytes - self._lent_bytes

    @property
    def block_bytes(self) -> int:
        """How large the next block should be."""
        free = self.free_bytes
        if free * ROOMY_DIVISOR >= self.total_bytes:
            return LARGEST_BLOCK_BYTES
        return min(max(free // SHARE_DIVISOR, SMALLEST_BLOCK_BYTES), LARGEST_BLOCK_BYTES)

    def take(self, size_bytes: int) -> None:
        """Count bytes that are in flight from now on."""
        self._lent_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that are in flight no more. Any thread may say so."""
        self._returned.append(size_bytes)

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether so much may be held for long: blocks would stay of the largest size beside it.

        What is no larger than the smallest block may always be held.
        """
        is_small = size_bytes <= SMALLEST_BLOCK_BYTES
        return is_small or (self.free_bytes - size_bytes) * ROOMY_DIVISOR >= self.total_bytes

    @contextmanager
    def lending(self, size_bytes: int) -> Iterator[None]:
        """Count so many bytes as in flight for as long as the block runs."""
        self.take(size_bytes)
        try:
            yield
        finally:
            self.give_back(size_bytes)

    def lend(self, chunks: list[bytes], size_bytes: int) -> Block:
        """Make a block of bytes that were taken: in flight until nobody refers to it."""
        return Block(chunks, size_bytes, self.give_back)


class DownloadBuffer:
    """What of a download is in memory: the chunk that was asked for last, and the one before.

    A server takes a chunk at once, and waits with the next one until the client has taken it.
    """

    def __init__(self, budget: TransferBudget) -> None:
        self._budget = budget
        self._before = self._latest = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._before + self._latest)

    def take(self, size_bytes: int) -> None:
        """Count the next chunk; whoever asks for it has sent all but the last one."""
        self._budget.give_back(self._before)
        self._budget.take(size_bytes)
        self._before, self._latest = self._latest, size_bytes


async def gather_blocks(
    body: AsyncIterable[bytes], budget: TransferBudget, unfinished: list[bytes] | None = None
) -> AsyncGenerator[Block]:
    """Put the chunks of a body together to blocks, as they come; none is empty.

    What has come is in flight before its block is full: its sender may stall for long.
    ``unfinished``: where to leave the chunks of the block that was not full yet when the body
    broke off.
    """
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async for chunk in body:
            chunks.append(chunk)
            size_bytes += len(chunk)
            budget.take(len(chunk))
            if len(chunks) >= MAX_BLOCK_CHUNKS:
                chunks = [b"".join(chunks)]
            if size_bytes >= budget.block_bytes:
                block, chunks, size_bytes = budget.lend(chunks, size_bytes), [], 0
                yield block
                del block  # nobody may keep it alive while we wait for more
        if size_bytes:
            rest_bytes, size_bytes = size_bytes, 0
            yield budget.lend(chunks, rest_bytes)
    finally:
        budget.give_back(size_bytes)
        if unfinished is not None and size_bytes:
            unfinished.extend(chunks)
