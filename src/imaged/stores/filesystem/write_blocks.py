"""Writes all blocks of a temporary file and publishes it, or discards it.

Strategy. One lane writes while another flushes what was written before, so that little is left to
flush at the end. Whatever ends the work early, cancellation included, discards the file.
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
    """Begin the file, write all blocks in order and publish it; returns its size in bytes.

    ``expected_bytes``: this much space must be free; 0 if the size is unknown.

    Each time at least ``flush_every_bytes`` more were written, the file is flushed while the
    writing goes on. After a return the bytes are durable and visible. After an exception nothing is
    visible, unless a thread hung for longer than ``patience``.

    Raises what the file and ``blocks`` raise.
    """
    is_kept = False
    try:
        await threads.run(partial(file.begin, expected_bytes))
        size_bytes = await _write(file, blocks, lanes, flush_every_bytes)
        await threads.run(file.publish)
        file.commit()  # no await between here and the end, so no cancellation
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
            del block  # no reference may keep it alive while the next one is awaited
            if size_bytes - flushed_bytes >= flush_every_bytes:
                await flushing.feed(size_bytes)
                flushed_bytes = size_bytes
        await writing.drain()
        await flushing.drain()
    return size_bytes
