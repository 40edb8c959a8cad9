"""Filling a draft: from its beginning to its name, or back to nothing.

Strategy. One lane writes, another makes durable what was written meanwhile, so that little is left
to be waited for at the end. Whatever ends the work before that, be it a cancellation, discards the
draft in any case.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from datetime import timedelta
from functools import partial
from typing import Protocol

from imaged.core.block import Block
from imaged.lanes import LaneFactory
from imaged.stores.threads import Threads


class Unfinished(Protocol):
    """A file that is being written, and does not have its name yet. All but ``keep`` may block."""

    def write(self, block: Block) -> None:
        """Append a block."""
        ...

    def flush(self) -> None:
        """Make durable what was written so far."""
        ...

    def publish(self) -> None:
        """Make all of it durable and visible."""
        ...

    def keep(self) -> None:
        """Let what is published stay."""
        ...

    def discard(self, patience_seconds: float) -> None:
        """Make sure that nothing is or becomes visible; wait so long for threads that hang."""
        ...


async def fill(
    draft: Unfinished,
    begin: Callable[[], None],
    blocks: AsyncIterable[Block],
    *,
    threads: Threads,
    lanes: LaneFactory,
    flush_every_bytes: int,
    patience: timedelta,
) -> int:
    """Begin the draft, write all blocks in their order, publish it; its size in bytes.

    Each time that at least ``flush_every_bytes`` more were handed over, the draft is flushed beside
    the writing. When this returns, the bytes are durable and visible. When it raises, nothing is
    visible, unless a thread hung for longer than ``patience``.

    Raises what ``begin``, the draft and ``blocks`` raise.
    """
    is_kept = False
    try:
        await threads.run(begin)
        size_bytes = await _write(draft, blocks, lanes, flush_every_bytes)
        await threads.run(draft.publish)
        draft.keep()  # from here to the end nothing is awaited: no cancellation comes between
        is_kept = True
    finally:
        if not is_kept:
            await threads.finish(partial(draft.discard, patience.total_seconds()), patience)
    return size_bytes


async def _write(
    draft: Unfinished, blocks: AsyncIterable[Block], lanes: LaneFactory, flush_every_bytes: int
) -> int:
    def flush(_size_bytes: int) -> None:
        draft.flush()

    size_bytes = flushed_bytes = 0
    async with lanes(draft.write) as writing, lanes(flush) as flushing:
        async for block in blocks:
            size_bytes += block.size_bytes
            await writing.feed(block)
            del block  # nobody may keep it alive while we wait for more
            if size_bytes - flushed_bytes >= flush_every_bytes:
                await flushing.feed(size_bytes)
                flushed_bytes = size_bytes
        await writing.drain()
        await flushing.drain()
    return size_bytes
