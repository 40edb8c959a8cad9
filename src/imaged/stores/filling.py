"""Filling a draft with blocks: one lane writes, another makes durable what was written meanwhile.

Whatever waits for the disk at the end has little left to wait for.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Protocol

from imaged.core.block import Block
from imaged.lanes import LaneFactory


class Unfinished(Protocol):
    """A file that is being written, and has no name of its own yet. Both methods block."""

    def write(self, block: Block) -> None:
        """Append a block."""
        ...

    def flush(self) -> None:
        """Make durable what was written so far."""
        ...


async def fill(
    draft: Unfinished, blocks: AsyncIterable[Block], lanes: LaneFactory, *, flush_every_bytes: int
) -> int:
    """Write all blocks in their order, and return how many bytes they have.

    Each time that at least ``flush_every_bytes`` more were handed over, the draft is flushed beside
    the writing. When it returns, every block is written; what came after the last flush may not be
    durable yet. Raises what ``draft.write``, ``draft.flush`` and ``blocks`` raise; the draft is
    left for the caller to discard.
    """

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
