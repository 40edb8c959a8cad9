"""Downloads: the bytes that are asked for, all of them, or an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest

from imaged.core.access import Caller
from imaged.core.block import LARGEST_BLOCK_BYTES, TransferBudget
from imaged.core.byte_range import ByteRange, ByteSpan
from imaged.core.deletion import deactivate
from imaged.core.errors import (
    BlobMissing,
    DataForbidden,
    ImageNotFound,
    StoreError,
    UnsatisfiableRange,
)
from imaged.core.image import Visibility
from imaged.core.lifecycle import Status
from support.bodies import BODY, cut, send
from support.callers import ADMIN, OWNER, STRANGER
from support.cluster import Cluster
from support.faults import override_calls
from support.node import A, Node

pytestmark = pytest.mark.anyio


async def read(node: Node, wanted: ByteRange | None = None, caller: Caller = OWNER) -> bytes:
    """Download an image."""
    async with node.downloads.open(caller, A, wanted) as download:
        return b"".join([chunk async for chunk in download.chunks])


async def test_downloaded_bytes_equal_uploaded_ones(cluster: Cluster) -> None:
    """The same bytes, in order, with all that is known of them."""
    await cluster.active(A)
    node = cluster.node()
    assert await read(node) == BODY
    async with node.downloads.open(OWNER, A) as download:
        assert download.image == await cluster.image(A)
        assert download.span == ByteSpan(0, len(BODY))


async def test_a_range_is_a_part(cluster: Cluster) -> None:
    """One behind the end is refused before anything is sent."""
    await cluster.active(A)
    assert await read(cluster.node(), ByteRange(2, 5)) == BODY[2:6]
    with pytest.raises(UnsatisfiableRange):
        await read(cluster.node(), ByteRange(len(BODY), None))


@pytest.mark.parametrize(("body", "span"), [(None, None), (b"", ByteSpan(0, 0))])
async def test_nothing_to_read(cluster: Cluster, body: bytes | None, span: ByteSpan | None) -> None:
    """An image without data has no span, and an empty one an empty span: that is no error."""
    await cluster.queued(A)
    if body is not None:
        await cluster.node().upload(A, cut(body, 1), len(body))
    async with cluster.node().downloads.open(OWNER, A) as download:
        assert download.span == span
        assert [chunk async for chunk in download.chunks] == []


async def test_a_caller_without_read_rights_is_refused(cluster: Cluster) -> None:
    """Private images are not there for others, deactivated ones are for admins only."""
    await cluster.queued(A, visibility=Visibility.PRIVATE)
    node = cluster.node()
    await node.upload(A)

    with pytest.raises(ImageNotFound):
        await read(node, caller=STRANGER)
    await cluster.change(A, deactivate)
    with pytest.raises(DataForbidden):
        await read(node)

    assert await read(node, caller=ADMIN) == BODY


async def test_a_deleted_image_is_not_there(cluster: Cluster) -> None:
    """Although its bytes still are."""
    await cluster.active(A)
    node = cluster.node()
    await node.delete(A)
    with pytest.raises(ImageNotFound):
        await read(node)


async def test_a_download_outlives_a_delete(cluster: Cluster) -> None:
    """What was opened is read to its end, whatever becomes of the image and of its bytes."""
    await cluster.active(A)
    node = cluster.node(delay=timedelta(0))

    async with node.downloads.open(OWNER, A) as download:
        first = await anext(download.chunks)
        await node.delete(A, delayed=False)
        await node.scrubber.run_due()
        rest = b"".join([chunk async for chunk in download.chunks])

    assert not cluster.keys
    assert first + rest == BODY


@pytest.mark.parametrize(
    ("data", "error", "why"),
    [
        (None, BlobMissing, None),
        (b"", BlobMissing, None),
        (BODY[:-1], StoreError, "bytes of"),
        (BODY + b"?", StoreError, "bytes of"),
    ],
)
@pytest.mark.rule("loops.6")
async def test_bytes_that_are_not_those_recorded_are_told_before_anything_is_sent(
    cluster: Cluster, data: bytes | None, error: type[Exception], why: str | None
) -> None:
    """The record says active; the store has nothing, or what cannot be what was uploaded."""
    key = (await cluster.active(A)).locations[0].key
    del cluster.near.blobs[key]
    if data is not None:
        cluster.near.blobs[key] = data
    with pytest.raises(error, match=why):
        await read(cluster.node())


@pytest.mark.rule("loops.5")
async def test_a_store_that_loses_the_end_never_looks_like_success(cluster: Cluster) -> None:
    """The bytes end early, and the reader is told instead of left with a part."""
    await cluster.active(A)

    @asynccontextmanager
    async def lossy(key: str, start: int) -> AsyncIterator[object]:
        async with cluster.near.open(key, start) as reader:
            data = [(await reader.read(4)), b""]

            async def read_less(_: int) -> bytes:
                return data.pop(0)

            yield SimpleNamespace(size_bytes=reader.size_bytes, read=read_less)

    node = cluster.node(near=override_calls(cluster.near, open=lossy))
    received = b""
    with pytest.raises(StoreError, match="lost the end"):  # noqa: PT012 - while it is read
        async with node.downloads.open(OWNER, A) as download:
            async for chunk in download.chunks:
                received += chunk

    assert received == b""


@pytest.mark.rule("loops.7")
async def test_a_block_is_in_flight_until_the_next_read(cluster: Cluster) -> None:
    """And nothing is, when it has ended, at its end or in the middle."""
    await cluster.queued(A)
    node = cluster.node(budget=TransferBudget(8 * LARGEST_BLOCK_BYTES))
    node.downloads.verify = False
    await node.upload(A, send(chunks=2, chunk=bytes(LARGEST_BLOCK_BYTES)))
    total = node.budget.total_bytes
    assert node.budget.free_bytes == total

    async with node.downloads.open(OWNER, A) as download:
        await anext(download.chunks)
        assert node.budget.free_bytes == total - LARGEST_BLOCK_BYTES
    assert node.budget.free_bytes == total

    assert len(await read(node)) == 2 * LARGEST_BLOCK_BYTES + 1
    assert node.budget.free_bytes == total


async def test_an_image_that_is_being_written_has_no_data_yet(cluster: Cluster) -> None:
    """Unfinished bytes cannot be read."""
    await cluster.queued(A)
    node = cluster.node()
    running = cluster.start(node.upload(A, send(chunks=3, every=5)))
    async with node.downloads.open(OWNER, A) as download:
        assert download.span is None
    assert (await running.outcome()).status is Status.ACTIVE
