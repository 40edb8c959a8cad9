"""Filling an unfinished file: from its beginning to its name, or back to nothing.

Strategy. One lane writes, another makes durable what was written meanwhile, so that little is left
to be waited for at the end. Whatever ends the work before that, be it a cancellation, discards the
file in any case.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from datetime import timedelta
from functools import partial

from imaged.core.block import Block
from imaged.lanes import LaneFactory
from imaged.stores.filesystem.temporary_file import TemporaryFile
from imaged.stores.thread_pool import ThreadPool


async def write_blocks(
    file: TemporaryFile,
    expected_bytes: int,
    blocks: AsyncIterable[Block],
    *,
    threads: ThreadPool,
    lanes: LaneFactory,
    flush_every_bytes: int,
    patience: timedelta,
) -> int:
    """Begin the file, write all blocks in their order, publish it; its size in bytes.

    ``expected_bytes``: there must be room for so much; 0 where nobody knows.

    Each time that at least ``flush_every_bytes`` more were handed over, it is flushed beside
    the writing. When this returns, the bytes are durable and visible. When it raises, nothing is
    visible, unless a thread hung for longer than ``patience``.

    Raises what the file and ``blocks`` raise.
    """
    is_kept = False
    try:
        await threads.run(partial(file.begin, expected_bytes))
        size_bytes = await _write(file, blocks, lanes, flush_every_bytes)
        await threads.run(file.publish)
        file.commit()  # from here to the end nothing is awaited: no cancellation comes between
        is_kept = True
    finally:
        if not is_kept:
            await threads.run_shielded(partial(file.discard, patience.total_seconds()), patience)
    return size_bytes


async def _write(
    file: TemporaryFile, blocks: AsyncIterable[Block], lanes: LaneFactory, flush_every_bytes: int
) -> int:
    def flush(_size_bytes: int) -> None:
        file.flush()

    size_bytes = flushed_bytes = 0
    async with lanes(file.write) as writing, lanes(flush) as flushing:
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
