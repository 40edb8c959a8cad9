"""Verified downloads: whatever rots and whatever is asked for, no wrong byte leaves."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from imaged.core.blob import make_key
from imaged.core.block import TransferBudget
from imaged.core.byte_range import ByteRange, ByteSpan
from imaged.core.errors import DataDamaged
from imaged.core.image import Content, Location
from imaged.core.integrity import BLOCK_BYTES, blocks_of, pages_of
from imaged.core.limits import KIB, MIB
from imaged.services.stream_checks import BlockChecksummer
from imaged.services.verified_reads import (
    HELD_CHUNK_BYTES,
    PIECES_IN_MEMORY,
    REREAD_PIECE_BYTES,
    BlockCache,
    RecordedChecksums,
    StoredBlob,
    read_verified,
)
from imaged.testing.memory_store import MemoryStore
from support.bodies import send
from support.callers import OWNER
from support.cluster import Cluster
from support.faults import catalog_fails, override_calls
from support.node import A, Node

pytestmark = pytest.mark.anyio

TOTAL = 64 * MIB
SIZE = 2 * BLOCK_BYTES + 3 * REREAD_PIECE_BYTES + 5  # three blocks, the last one of odd size
DATA = random.Random(1).randbytes(SIZE)
KEY = make_key(A, UUID(int=1))


def packed(data: bytes) -> bytes:
    """The checksums of its blocks."""
    checksums = BlockChecksummer()
    checksums.feed(data)
    return checksums.packed()


@dataclass
class Pages:
    """The catalog, as far as it is asked."""

    checksums: bytes
    asked: int = 0

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """A page of them."""
        assert key == KEY
        self.asked += 1
        return dict(pages_of(self.checksums)).get(page)


class Blob:
    """A blob in memory, and what was recorded of it."""

    def __init__(self, data: bytes = DATA) -> None:
        self.store = MemoryStore("near")
        self.store.blobs[KEY] = data
        self.pages = Pages(packed(data))
        content = Content(len(data), "", "", "")
        self.stored = StoredBlob(self.store, Location("near", KEY, len(data)), content)
        self.budget = TransferBudget(TOTAL)
        self.kept = BlockCache()

    def flip(self, bit: int) -> None:
        """Let one bit rot."""
        data = bytearray(self.store.blobs[KEY])
        data[bit // 8] ^= 1 << bit % 8
        self.store.blobs[KEY] = bytes(data)

    def opened_by(self, open_: Callable[..., object]) -> None:
        """Let reads open it in this way."""
        store = override_calls(self.store, open=open_)
        self.stored = replace(self.stored, store=store)

    def crowd(self) -> None:
        """Other downloads use the budget, so no block is held."""
        self.budget.take(TOTAL)

    def read(self, span: ByteSpan) -> AsyncGenerator[bytes]:
        """Read a span of it."""
        checksums = RecordedChecksums(self.pages, KEY)  # type: ignore[arg-type]
        return read_verified(self.stored, span, checksums, self.budget, self.kept)


async def received(blob: Blob, span: ByteSpan) -> tuple[bytes, DataDamaged | None]:
    """What leaves, and what ends it."""
    sent = b""
    try:
        async for chunk in blob.read(span):
            assert chunk
            sent += chunk
    except DataDamaged as damage:
        return sent, damage
    return sent, None


def spans() -> st.SearchStrategy[ByteSpan]:
    """Any range; more of those that begin or end at a border of something."""
    borders = (
        0,
        1,
        REREAD_PIECE_BYTES,
        BLOCK_BYTES - 1,
        BLOCK_BYTES,
        BLOCK_BYTES + 1,
        2 * BLOCK_BYTES,
    )
    start = st.sampled_from(borders) | st.integers(0, SIZE - 1)
    end = st.sampled_from([*borders[1:], SIZE]) | st.integers(1, SIZE)
    pairs = st.tuples(start, end).filter(lambda pair: pair[0] < pair[1])
    return pairs.map(lambda pair: ByteSpan(pair[0], pair[1] - pair[0]))


@pytest.mark.parametrize("is_crowded", [False, True], ids=["held", "twice"])
@settings(max_examples=40, deadline=None)
@given(span=spans(), bit=st.none() | st.integers(0, SIZE * 8 - 1))
async def test_no_wrong_byte_ever_leaves(is_crowded: bool, span: ByteSpan, bit: int | None) -> None:
    """All bytes of the range leave, or those of the blocks before the wrong one."""
    blob = Blob()
    if is_crowded:
        blob.crowd()
    free_bytes = blob.budget.free_bytes
    if bit is not None:
        blob.flip(bit)

    sent, damage = await received(blob, span)

    wanted = DATA[span.start : span.start + span.length]
    wrong = -1 if bit is None else bit // 8 // BLOCK_BYTES
    if wrong in blocks_of(span):
        good_bytes = max(wrong * BLOCK_BYTES - span.start, 0)
        assert damage is not None
        assert f"the bytes {wrong * BLOCK_BYTES} to " in damage.problems[0]
        assert sent == wanted[:good_bytes]
    else:
        assert (sent, damage) == (wanted, None)
    blob.kept.release()
    assert blob.budget.free_bytes == free_bytes


@pytest.mark.parametrize("is_crowded", [False, True], ids=["held", "twice"])
async def test_blocks_in_memory(is_crowded: bool) -> None:
    """A block and the end of the one before it; in a crowd, three pieces of 64 KiB."""
    blob = Blob()
    if is_crowded:
        blob.crowd()
    free_bytes = blob.budget.free_bytes
    most = PIECES_IN_MEMORY * REREAD_PIECE_BYTES if is_crowded else BLOCK_BYTES + HELD_CHUNK_BYTES

    sizes = set()
    async for chunk in blob.read(ByteSpan(0, SIZE)):
        assert free_bytes - blob.budget.free_bytes == most
        sizes.add(len(chunk))

    assert max(sizes) == (REREAD_PIECE_BYTES if is_crowded else HELD_CHUNK_BYTES)
    assert blob.budget.free_bytes == free_bytes


async def test_bytes_that_rot_between_two_reads() -> None:
    """In a crowd a block is read twice; what the first pass saw is what leaves, or nothing."""
    blob = Blob()
    blob.crowd()
    store, opened = blob.store, 0

    @asynccontextmanager
    async def rots(key: str, start: int = 0) -> AsyncGenerator[object]:
        nonlocal opened
        opened += 1
        if opened == 2:
            blob.flip((REREAD_PIECE_BYTES + 1) * 8)
        async with store.open(key, start) as reader:
            yield reader

    blob.opened_by(rots)

    sent, damage = await received(blob, ByteSpan(0, SIZE))

    assert damage is not None
    assert sent == DATA[:REREAD_PIECE_BYTES]


async def test_little_ranges_in_order_read_each_block_once() -> None:
    """The block of the last range is kept for the next one, and let go of with the connection."""
    blob = Blob()
    reads: list[int] = []
    store = blob.store

    @asynccontextmanager
    async def counted(key: str, start: int = 0) -> AsyncGenerator[object]:
        reads.append(start)
        async with store.open(key, start) as reader:
            yield reader

    blob.opened_by(counted)
    sent = b""
    for start in range(0, SIZE, 48 * KIB):
        part, damage = await received(blob, ByteSpan(start, min(48 * KIB, SIZE - start)))
        assert damage is None
        sent += part
        assert TOTAL - blob.budget.free_bytes <= BLOCK_BYTES

    assert sent == DATA
    assert reads == [0, BLOCK_BYTES, 2 * BLOCK_BYTES]
    blob.kept.release()
    assert blob.budget.free_bytes == TOTAL


async def test_the_block_that_is_kept() -> None:
    """It is never that of another blob; what others need goes before what a next range might."""
    blob, crowded = Blob(), Blob()
    crowded.crowd()
    for one in (blob, crowded):
        await received(one, ByteSpan(0, 10))
    assert blob.kept.take(make_key(A, UUID(int=2)), 0) is None
    assert blob.budget.free_bytes == TOTAL
    assert crowded.kept.take(KEY, 0) is None


# through the service


async def read(node: Node, wanted: ByteRange | None = None) -> bytes:
    """Download an image."""
    async with node.downloads.open(OWNER, A, wanted) as download:
        return b"".join([chunk async for chunk in download.chunks])


async def rotten(cluster: Cluster, node: Node) -> None:
    """An image of two blocks and a byte, and a bit of its second block is wrong."""
    await cluster.queued(A)
    body = send(chunks=8, chunk=bytes(MIB))
    image = await node.upload(A, body)
    key = image.locations[0].key
    data = bytearray(cluster.near.blobs[key])
    data[BLOCK_BYTES + 7] ^= 1
    cluster.near.blobs[key] = bytes(data)


async def test_a_wrong_block_marks_the_image(cluster: Cluster) -> None:
    """The operator is told, once; the mark stays until a verification takes it away."""
    node = cluster.node(budget=TransferBudget(TOTAL))
    await rotten(cluster, node)

    with capture_logs() as lines:
        assert await read(node, ByteRange(0, 9)) == bytes(10)  # of a good block
        assert (await cluster.image(A)).damage is None
        for _ in range(2):
            with pytest.raises(DataDamaged):
                await read(node)

    marked = (await cluster.image(A)).damage or ""
    assert marked.startswith("In the store 'near' the bytes 4194304 to 8388607 have the CRC-32C")
    assert [line["problem"] for line in lines if line["event"] == "image.damaged"] == [marked]


async def test_a_wrong_first_block_is_told_before_anything_is_sent(cluster: Cluster) -> None:
    """So that the answer can be an error, and not an end in the middle."""
    node = cluster.node(budget=TransferBudget(TOTAL))
    await rotten(cluster, node)
    with pytest.raises(DataDamaged):
        async with node.downloads.open(OWNER, A, ByteRange(BLOCK_BYTES, None)):
            raise AssertionError


async def test_a_mark_that_cannot_be_made_changes_nothing(cluster: Cluster) -> None:
    """The download ends the same, and the log has both."""
    maker = cluster.node(budget=TransferBudget(TOTAL))
    await rotten(cluster, maker)
    deaf = override_calls(cluster.catalog, modify_image=catalog_fails)
    with capture_logs() as lines, pytest.raises(DataDamaged):
        await read(cluster.node("deaf", catalog=deaf, budget=TransferBudget(TOTAL)))
    events = [line["event"] for line in lines if line["event"].startswith("image.")]
    assert events == ["image.damaged", "image.mark_failed"]


@pytest.mark.parametrize("why", ["downloads.verify is false", "none are recorded"])
async def test_unverified_data_is_served_unchanged(cluster: Cluster, why: str) -> None:
    """Where the operator wants it so, and for blobs of versions before."""
    node = cluster.node(budget=TransferBudget(TOTAL))
    await rotten(cluster, node)
    if why == "none are recorded":
        cluster.catalog.block_checksums.clear()
    else:
        node.downloads.verify = False

    assert len(await read(node)) == 2 * BLOCK_BYTES + 1
    assert (await cluster.image(A)).damage is None
