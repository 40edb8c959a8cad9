"""The budget of bytes in flight: blocks shrink as it fills, and everything comes back."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress

import anyio
import pytest

from imaged.core.block import (
    LARGEST_BLOCK_BYTES,
    SMALLEST_BLOCK_BYTES,
    Block,
    DownloadBuffer,
    TransferBudget,
)
from imaged.core.errors import ClientVanished
from imaged.core.limits import MIB
from imaged.services.stream_checks import MAX_BLOCK_CHUNKS, gather_blocks
from support.bodies import send, send_broken
from support.cluster import Cluster
from support.faults import override_calls
from support.node import A

pytestmark = pytest.mark.anyio

TOTAL = 64 * MIB


# the size of blocks


@pytest.mark.parametrize(
    ("in_flight", "block_bytes"),
    [
        (0, LARGEST_BLOCK_BYTES),
        (TOTAL // 2, LARGEST_BLOCK_BYTES),
        (TOTAL // 2 + 1, TOTAL // 2 // 64),
        (TOTAL * 3 // 4, TOTAL // 4 // 64),
        (TOTAL - 64 * SMALLEST_BLOCK_BYTES, SMALLEST_BLOCK_BYTES),
        (TOTAL - 1, SMALLEST_BLOCK_BYTES),
        (TOTAL, SMALLEST_BLOCK_BYTES),
        (TOTAL * 10, SMALLEST_BLOCK_BYTES),
    ],
)
@pytest.mark.rule("bytes.9")
async def test_blocks_shrink_as_the_budget_fills(in_flight: int, block_bytes: int) -> None:
    """Large while half is free, then ever smaller, but never below the floor."""
    budget = TransferBudget(TOTAL)
    budget.take(in_flight)
    assert budget.block_bytes == pytest.approx(block_bytes, abs=1)
    assert budget.free_bytes == TOTAL - in_flight
    budget.give_back(in_flight)
    assert budget.block_bytes == LARGEST_BLOCK_BYTES


async def test_a_block_is_in_flight_while_it_is_referenced() -> None:
    """Dropping the last reference gives its bytes back."""
    budget = TransferBudget(TOTAL)
    budget.take(5)
    block = budget.lend([b"abc", b"de"], 5)
    others = [block]
    assert budget.free_bytes == TOTAL - 5

    del block
    assert budget.free_bytes == TOTAL - 5
    others.clear()
    assert budget.free_bytes == TOTAL


async def test_two_chunks_of_a_download_are_in_flight() -> None:
    """The one that is on its way to the client, and the one behind it; at the end, none."""
    budget = TransferBudget(TOTAL)
    in_flight = []
    with DownloadBuffer(budget) as sending:
        for size_bytes in (10, 20, 5):
            sending.take(size_bytes)
            in_flight.append(TOTAL - budget.free_bytes)

    assert in_flight == [10, 30, 25]
    assert budget.free_bytes == TOTAL


# blocks of a body


@pytest.mark.parametrize(
    ("in_flight", "chunk_bytes", "expected"),
    [
        (0, 600_000, [1_200_000, 1_200_000, 600_001]),
        (TOTAL, SMALLEST_BLOCK_BYTES, [SMALLEST_BLOCK_BYTES] * 5 + [1]),
    ],
    ids=["room", "crowd"],
)
@pytest.mark.rule("bytes.9")
async def test_a_body_is_cut_into_blocks_of_the_size_of_the_moment(
    in_flight: int, chunk_bytes: int, expected: list[int]
) -> None:
    """Whole chunks, in order; the rest is a block of its own, and none is empty."""
    budget = TransferBudget(TOTAL)
    budget.take(in_flight)
    sizes, data = [], b""
    async for block in gather_blocks(send(chunks=5, chunk=bytes(chunk_bytes)), budget):
        sizes.append(block.size_bytes)
        data += b"".join(block.chunks)

    assert sizes == expected
    assert data == bytes(5 * chunk_bytes) + b"!"


async def test_many_little_chunks_become_one() -> None:
    """Each chunk costs memory of its own, which is not counted."""
    budget = TransferBudget(TOTAL)
    (block,) = [b async for b in gather_blocks(send(MAX_BLOCK_CHUNKS * 4, chunk=b"ab"), budget)]
    assert len(block.chunks) <= MAX_BLOCK_CHUNKS
    assert b"".join(block.chunks) == b"ab" * MAX_BLOCK_CHUNKS * 4 + b"!"


@pytest.mark.parametrize("chunks", [[], [b""], [b"", b"", b""]])
async def test_no_block_is_empty(chunks: list[bytes]) -> None:
    """A body without bytes has none at all."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    assert [b async for b in gather_blocks(body(), TransferBudget(TOTAL))] == []


@pytest.mark.rule("bytes.8")
async def test_waiting_for_more_keeps_no_block(cluster: Cluster) -> None:
    """While the client is silent, nothing on the way of its bytes holds what was written."""
    await cluster.queued(A)

    async def put(_: str, blocks: AsyncIterable[Block], *__: object) -> int:
        size_bytes = 0
        async for block in blocks:
            size_bytes += block.size_bytes
            del block
        return size_bytes

    node = cluster.node(near=override_calls(cluster.near, put=put), budget=TransferBudget(TOTAL))
    cluster.start(node.upload(A, send(chunks=3, every=20, chunk=bytes(MIB))))
    in_flight = []
    for _ in range(6):
        await anyio.sleep(9)
        in_flight.append(TOTAL - node.budget.free_bytes)

    assert in_flight == [0] * 6


# nothing stays behind


@pytest.mark.parametrize("end", ["success", "failure", "cancellation"])
async def test_nothing_is_in_flight_afterwards(cluster: Cluster, end: str) -> None:
    """Every block has come back, however the transfer ended, and the rest that filled none."""
    await cluster.queued(A)
    node = cluster.node(budget=TransferBudget(TOTAL))

    with anyio.move_on_after(5), suppress(ClientVanished):
        if end == "failure":
            await node.upload(A, send_broken(ClientVanished(), chunk=bytes(400_000)))
        every = 1 if end == "cancellation" else 0
        await node.upload(A, send(chunks=10, every=every, chunk=bytes(400_000)))
    gc.collect()

    assert node.budget.free_bytes == TOTAL


async def test_a_block_may_come_back_from_any_thread() -> None:
    """A lane in a thread often drops the last reference."""
    budget = TransferBudget(TOTAL)
    budget.take(1000)
    blocks: list[Block] = [budget.lend([b"x"], 1) for _ in range(1000)]
    halves = [blocks[:500], blocks[500:]]
    blocks.clear()
    threads = [threading.Thread(target=half.clear) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert budget.free_bytes == TOTAL
