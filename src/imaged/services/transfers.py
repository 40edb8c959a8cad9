"""The transfers of this process: one budget for the bytes in flight, and counts.

Transfers never wait for the budget: otherwise slow clients would block all others. While much of it
is free, blocks are large; as it fills, they shrink to a minimum. So memory is bounded by the budget
plus the minimum of each connection, and many clients get slower instead of using more memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from imaged.core.block import Block
from imaged.core.limits import KIB, MIB
from imaged.ports.meter import Meter, Timing, ignore_measurement

RATE_WINDOW = timedelta(seconds=5)
LARGEST_BLOCK_BYTES = 1 * MIB
SMALLEST_BLOCK_BYTES = 64 * KIB
ROOMY_DIVISOR = 2  # blocks have the largest size while 1/ROOMY_DIVISOR is free
SHARE_DIVISOR = 64  # otherwise a block takes 1/SHARE_DIVISOR of the free bytes
MAX_BLOCK_CHUNKS = 256  # blocks with more chunks are joined: each chunk costs memory of its own


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


async def gather_blocks(
    body: AsyncIterable[bytes], budget: TransferBudget, unfinished: list[bytes] | None = None
) -> AsyncGenerator[Block]:
    """Combine the chunks of a body into blocks, as they are received; none is empty.

    Received bytes count as in flight before their block is full: the sender may stall for long.
    ``unfinished``: receives the chunks of the incomplete block when the body breaks off.
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
                del block  # a reference would keep it alive while we wait for more
        if size_bytes:
            rest_bytes, size_bytes = size_bytes, 0
            yield budget.lend(chunks, rest_bytes)
    finally:
        budget.give_back(size_bytes)
        if unfinished is not None and size_bytes:
            unfinished.extend(chunks)


@dataclass(slots=True)
class Traffic:
    """Counts the transfers, block by block, on the event loop. Totals only grow."""

    uploads_in_flight: int = 0  # bodies being written to a store: uploads, staging, imports
    downloads_in_flight: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    meter: Meter = ignore_measurement  # receives each finished "upload" and "download"

    @contextmanager
    def uploading(self) -> Iterator[None]:
        """Count an upload while the block runs."""
        self.uploads_in_flight += 1
        try:
            with Timing(self.meter, "upload"):
                yield
        finally:
            self.uploads_in_flight -= 1

    @contextmanager
    def downloading(self) -> Iterator[None]:
        """Count a download while the block runs."""
        self.downloads_in_flight += 1
        try:
            with Timing(self.meter, "download"):
                yield
        finally:
            self.downloads_in_flight -= 1


class Rate:
    """The growth of a total per second, over the last seconds."""

    def __init__(self, window: timedelta = RATE_WINDOW) -> None:
        self._window_seconds = window.total_seconds()
        self._seen: deque[tuple[float, int]] = deque()  # (when, total), the earliest first

    def per_second(self, total: int, at: float) -> float:
        """Add a value of the total, and return its growth per second since the window began.

        ``at``: seconds of a monotonic clock, such as ``anyio.current_time()``. If calls are rare,
        the window begins at the last one; the first answer is 0.
        """
        self._seen.append((at, total))
        while len(self._seen) > 2 and self._seen[1][0] <= at - self._window_seconds:  # noqa: PLR2004 - a beginning and an end
            self._seen.popleft()
        since, before = self._seen[0]
        return (total - before) / (at - since) if at > since else 0.0
