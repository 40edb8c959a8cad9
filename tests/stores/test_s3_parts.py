"""The sizes of a blob's parts, their content, and their memory."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from contracts.store_bodies import block_of, some_bytes
from imaged.core.block import Block
from imaged.core.limits import GIB, MIB
from imaged.stores.s3.errors import is_retryable
from imaged.stores.s3.part_memory import PartMemory, PartPlanner, PartSizes
from imaged.stores.s3.parts import (
    HASH_POOL,
    SEND_PIECE_BYTES,
    BodyNotRepeatable,
    Part,
    StreamedPart,
)
from imaged.stores.s3.settings import (
    MAX_BLOB_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    MIN_PART_BYTES,
    S3Settings,
)
from support.settings import configured

TIB = 1024 * GIB


def sizes_of(sizes: PartSizes, total_bytes: int) -> list[int]:
    """The parts of a blob of this size."""
    parts: list[int] = []
    sent = 0
    while sent < total_bytes:
        parts.append(min(sizes.next_after(sent), total_bytes - sent))
        sent += parts[-1]
    return parts


@pytest.mark.parametrize("first_bytes", [5 * MIB, 8 * MIB, 64 * MIB, 5 * GIB])
@pytest.mark.parametrize("expected_bytes", [0, MAX_BLOB_BYTES])
def test_the_largest_blob_has_no_more_parts_than_are_allowed(
    first_bytes: int, expected_bytes: int
) -> None:
    """With known and unknown size, and however small the first part."""
    parts = sizes_of(PartSizes(first_bytes, expected_bytes), MAX_BLOB_BYTES)

    assert len(parts) <= MAX_PARTS
    assert max(parts) <= MAX_PART_BYTES
    assert min(parts[:-1]) >= MIN_PART_BYTES


def test_parts_begin_to_grow_after_a_while() -> None:
    """Until then they have one size; then each is a small fraction of what was sent."""
    parts = sizes_of(PartSizes(5 * MIB), 12 * GIB)

    assert set(parts[:1250]) == {5 * MIB}
    assert parts[1300] > 5 * MIB
    assert max(parts) <= 10 * MIB


@pytest.mark.parametrize(
    ("expected_bytes", "part_bytes"),
    [
        (1, 8 * MIB),
        (70 * GIB, 8 * MIB),
        (100 * GIB, 12 * MIB),
        (TIB, 117 * MIB),
        (5 * TIB, 583 * MIB),
    ],
)
def test_parts_of_a_known_size_are_alike(expected_bytes: int, part_bytes: int) -> None:
    """No larger than that size needs, with a margin."""
    parts = sizes_of(PartSizes(8 * MIB, expected_bytes), expected_bytes)

    assert set(parts[:-1]) <= {part_bytes}
    assert len(parts) <= MAX_PARTS


def test_a_size_that_was_not_true() -> None:
    """Bytes behind the announced end go into parts that grow as usual."""
    sizes = PartSizes(8 * MIB, 100 * GIB)

    assert sizes.next_after(100 * GIB) == 12 * MIB
    assert sizes.next_after(200 * GIB) == 82 * MIB


@given(
    st.lists(st.lists(st.binary(max_size=40), max_size=5), max_size=8),
    st.integers(min_value=1, max_value=100),
)
def test_parts_are_the_blocks_cut_anew(blocks: list[list[bytes]], limit_bytes: int) -> None:
    """Whatever the blocks, the bytes are sent in order, and no part is too long."""
    parts = [Part(limit_bytes)]
    for chunks in blocks:
        block, start = Block(chunks), 0
        while start < block.size_bytes:
            if parts[-1].is_full:
                parts.append(Part(limit_bytes))
            start = parts[-1].take(block, start)

    sent = [asyncio.run(_sent(part)) for part in parts]

    assert b"".join(sent) == b"".join(chunk for chunks in blocks for chunk in chunks)
    assert [len(data) for data in sent] == [part.size_bytes for part in parts]
    assert all(len(data) == limit_bytes for data in sent[:-1])


async def _sent(part: Part) -> bytes:
    return b"".join([bytes(piece) async for piece in part.as_body(lambda: None)])


@pytest.mark.asyncio
async def test_a_part_is_sent_piece_by_piece() -> None:
    """So that no other work waits long, and as often as needed."""
    part, told = Part(8 * MIB), []
    part.take(Block([some_bytes(3 * MIB), b"and more"]))

    for _ in range(2):
        body = part.as_body(lambda: told.append(1))
        pieces = [len(piece) async for piece in body]
        assert max(pieces) == SEND_PIECE_BYTES
        assert sum(pieces) == len(body) == 3 * MIB + 8
    assert len(told) == 2 * 13


def test_a_part_is_not_read() -> None:
    """A library that reads it gets an error that is visible and not retried."""
    body = Part(8 * MIB).as_body(lambda: None)

    with pytest.raises(RuntimeError, match="sent piece by piece") as caught:
        body.read()
    assert not is_retryable(caught.value)


@pytest.mark.asyncio
@pytest.mark.parametrize("size_bytes", [0, 5, 2 * MIB])
async def test_checksums(size_bytes: int) -> None:
    """They equal those computed from the same bytes, in a thread or not."""
    data = some_bytes(size_bytes)
    part = Part(8 * MIB)
    part.take(block_of(data, 100_000))

    castagnoli = base64.b64encode(crc32c(data).to_bytes(4, "big")).decode()
    crc32 = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    assert await part.checksum("crc32c") == {"ChecksumCRC32C": castagnoli}
    assert await part.checksum("crc32") == {"ChecksumCRC32": crc32}
    assert await part.checksum("md5") == {"ContentMD5": md5}
    assert await part.checksum("none") == {}


@pytest.mark.asyncio
async def test_large_parts_are_hashed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones are not: the switch takes longer than the hash."""
    hashed: list[Callable[[], object]] = []
    submit = HASH_POOL.submit

    def run(work: Callable[[], object]) -> Future[object]:
        hashed.append(work)
        return submit(work)

    monkeypatch.setattr(HASH_POOL, "submit", run)
    small, large = Part(MIB), Part(MIB)
    small.take(Block([bytes(MIB - 1)]))
    large.take(Block([bytes(MIB)]))

    await small.checksum("crc32c")
    assert hashed == []
    await large.checksum("crc32")
    assert len(hashed) == 1


@pytest.mark.asyncio
async def test_hashing_is_not_behind_names_that_are_looked_up() -> None:
    """Lookups of a store whose names do not resolve keep the shared threads busy."""
    answers = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    looking_up = loop.run_in_executor(None, answers.wait)
    held, streamed = Part(MIB), StreamedPart(MIB)
    held.take(Block([bytes(MIB)]))
    streamed.take(Block([bytes(MIB)]))
    streamed.close()
    try:
        async with asyncio.timeout(10):
            await held.checksum("crc32c")
            await held.md5()
            await streamed.drain()
    finally:
        answers.set()
        await looking_up


def test_a_part_keeps_the_memory_of_its_blocks_counted() -> None:
    """As long as the part exists, and no longer."""
    released: list[int] = []
    part, other = Part(6), Part(6)
    block = Block([b"12345678"], 8, released.append)
    other.take(block, part.take(block))

    del block
    gc.collect()
    assert released == []
    del part
    gc.collect()
    assert released == []
    del other
    gc.collect()
    assert released == [8]


def _room(parts: int) -> PartMemory:
    return PartMemory(configured(S3Settings, bucket="images", parts_in_flight=parts))


@pytest.mark.asyncio
async def test_everybody_has_room_for_one_part() -> None:
    """However many uploads there are, none waits for its first part."""
    room = _room(2)
    with room.share() as first, room.share() as second, room.share() as third:
        for share in (first, second, third):
            await asyncio.wait_for(share.acquire(8 * MIB), 1)

        assert room.held_bytes == 24 * MIB


@pytest.mark.asyncio
async def test_more_than_one_part_has_to_wait() -> None:
    """Until another upload releases memory, or the upload's one part is stored."""
    room = _room(2)
    with room.share() as first, room.share() as second:
        await first.acquire(8 * MIB)
        await second.acquire(8 * MIB)
        more = [asyncio.create_task(share.acquire(8 * MIB)) for share in (first, second)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in more)

        first.release(8 * MIB)  # holds none now, so it may have one
        await asyncio.wait_for(more[0], 1)
        await asyncio.sleep(0)
        assert not more[1].done()

        first.release(8 * MIB)
        await asyncio.wait_for(more[1], 1)

        assert (first.held_bytes, second.held_bytes) == (0, 16 * MIB)


@pytest.mark.asyncio
async def test_leaving_a_share_releases_everything() -> None:
    """Once, also if a cancelled part ends later."""
    room = _room(4)
    with room.share() as share:
        await share.acquire(8 * MIB)
        await share.acquire(8 * MIB)
    share.release(8 * MIB)

    assert room.held_bytes == 0


def test_in_a_crowd_parts_are_small() -> None:
    """So that one for each is little; earlier uploads keep their size."""
    room = _room(2)
    with room.share() as first, room.share() as second, room.share() as third:
        assert [share.part_bytes for share in (first, second, third)] == [
            8 * MIB,
            8 * MIB,
            MIN_PART_BYTES,
        ]
    with room.share() as alone:
        assert alone.part_bytes == 8 * MIB


@pytest.mark.asyncio
async def test_a_larger_part_is_held_where_there_is_room() -> None:
    """And a second one beside it; with many uploads, only parts of the usual size."""
    room = _room(4)
    with room.share() as first, room.share() as second:
        assert await first.try_acquire(16 * MIB)
        assert await second.try_acquire(12 * MIB)
        with room.share() as third:
            assert not await third.try_acquire(12 * MIB)
        assert room.held_bytes == 28 * MIB


@pytest.mark.asyncio
async def test_a_part_without_room_for_a_second_one_is_not_held() -> None:
    """However much memory is free."""
    with _room(4).share() as share:
        assert not await share.try_acquire(17 * MIB)


@pytest.mark.asyncio
async def test_a_part_of_a_blob_of_unknown_size_is_as_large_as_the_room() -> None:
    """And no smaller than usual; where parts have grown, memory does not grow with them."""
    room = _room(4)
    limits: list[int] = []
    with ExitStack() as shares:
        for sent_bytes in (TIB, TIB, 0):
            planner = PartPlanner(shares.enter_context(room.share()), 0)
            limits.append((await planner.make(sent_bytes)).limit_bytes)
        assert room.held_bytes == sum(limits)

    assert limits == [32 * MIB, 8 * MIB, 8 * MIB]


@pytest.mark.asyncio
@pytest.mark.parametrize("expected_bytes", [TIB, 5 * TIB])
async def test_memory_does_not_follow_the_announced_size(expected_bytes: int) -> None:
    """Many blobs that are announced as large hold nothing in advance; their parts are streamed,
    which the upload knows before its first part.
    """
    room = _room(8)
    with ExitStack() as shares:
        for _ in range(12):
            planner = PartPlanner(shares.enter_context(room.share()), expected_bytes)
            assert planner.may_stream
            assert isinstance(await planner.make(0), StreamedPart)

        assert room.held_bytes == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("expected_bytes", [0, 100 * GIB, TIB, MAX_BLOB_BYTES])
async def test_the_planned_parts_are_enough(expected_bytes: int) -> None:
    """For all that was announced; and the last part ends with the blob."""
    total_bytes = expected_bytes or 200 * GIB
    sent_bytes = count = 0
    room = _room(8)
    with room.share() as share:
        planner = PartPlanner(share, expected_bytes)
        while sent_bytes < total_bytes:
            part = await planner.make(sent_bytes)
            assert MIN_PART_BYTES <= part.limit_bytes <= MAX_PART_BYTES
            share.release(share.held_bytes)
            sent_bytes += part.limit_bytes
            count += 1
            if isinstance(part, StreamedPart):
                assert sent_bytes <= total_bytes

    assert count <= MAX_PARTS


@pytest.mark.asyncio
async def test_a_streamed_part_is_sent_once() -> None:
    """A library that repeats the request gets a retryable error, and no half of it."""
    part = StreamedPart(6)
    part.take(Block([b"123456"]))
    drained = asyncio.create_task(part.drain())
    sent = [bytes(piece) async for piece in part.as_body(lambda: None)]
    await drained

    assert sent == [b"123456"]
    assert part.md5 == hashlib.md5(b"123456", usedforsecurity=False).hexdigest()
    with pytest.raises(BodyNotRepeatable) as caught:
        _ = [piece async for piece in part.as_body(lambda: None)]
    assert is_retryable(caught.value)


@pytest.mark.asyncio
async def test_a_request_that_ends_lets_a_streamed_part_go() -> None:
    """Nothing waits for a server that takes no more."""
    part = StreamedPart(12)
    part.take(Block([b"123456"]))
    drained = asyncio.create_task(part.drain())
    while not part._are_hashed:  # noqa: ASYNC110 - in a thread
        await asyncio.sleep(0)

    part.close()

    await asyncio.wait_for(drained, 10)
