"""What a writer that fails leaves: a clean image, and a row for its bytes."""

from __future__ import annotations

from collections.abc import AsyncIterable

import anyio
import pytest

from imaged.core.blob import BlobState
from imaged.core.block import Block
from imaged.core.errors import (
    ClaimLost,
    ClientVanished,
    DataRefused,
    ImageDeleted,
    StoreError,
    StoreFull,
)
from imaged.core.lifecycle import Status
from imaged.testing.memory_store import MemoryStore
from support.bodies import send, send_broken, unreadable_body
from support.cluster import Cluster
from support.faults import (
    catalog_fails,
    catalog_unavailable,
    from_nth,
    nth,
    override_calls,
    store_fails,
)
from support.node import A

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("error", [ClientVanished(), StoreError("near", "is on fire")])
async def test_a_body_that_breaks_off_leaves_nothing(cluster: Cluster, error: Exception) -> None:
    """What the body raises is what the caller hears; the retry works."""
    await cluster.queued(A)
    with pytest.raises(type(error)):
        await cluster.node().upload(A, send_broken(error, after=5))
    await cluster.require_clean_retry(A)


async def test_a_full_store_leaves_nothing(cluster: Cluster) -> None:
    """Found out in the middle: 'full' is what the caller hears, and the image is queued."""
    await cluster.queued(A)
    small = MemoryStore("near", capacity_bytes=30)
    with pytest.raises(StoreFull):
        await cluster.node(near=small).upload(A, send(chunks=10))
    assert (await cluster.image(A)).status is Status.QUEUED
    assert "room" in (await cluster.failure_of(A)).reason


async def test_a_store_hears_how_much_will_come(cluster: Cluster) -> None:
    """So that one without room for it can say so before the first byte."""
    await cluster.queued(A)
    small = MemoryStore("near", capacity_bytes=30)
    with pytest.raises(StoreFull):
        await cluster.node(near=small).upload(A, unreadable_body(), 31)


@pytest.mark.rule("bytes.1")
async def test_every_attempt_has_a_key_of_its_own(cluster: Cluster) -> None:
    """The retry comes before the scrubber: the bytes to be deleted must not be those it writes."""
    await cluster.queued(A)
    with pytest.raises(ClientVanished):
        await cluster.node().upload(A, send_broken(ClientVanished()))
    (failed,) = cluster.catalog.blobs

    image = await cluster.node().upload(A)
    await cluster.settle()

    assert image.locations[0].key != failed
    assert cluster.keys == {image.locations[0].key}


@pytest.mark.rule("claims.4", "bytes.2", "ledger.6")
async def test_bytes_still_being_written_are_not_deleted_under_the_pen(cluster: Cluster) -> None:
    """A writer that cannot be told writes on until its trust is over; its row waits for that."""
    await cluster.queued(A)
    deaf = override_calls(cluster.catalog, renew_leases=catalog_fails, add_stray=catalog_fails)
    writer = cluster.node("deaf", catalog=deaf)
    writing = cluster.start(writer.upload(A, send(chunks=50, every=5)))
    await anyio.sleep(12)
    await cluster.node().delete(A)
    (blob,) = cluster.catalog.blobs.values()

    writers: list[int] = []

    async def delete(key: str, *_: object) -> None:
        writers.append(writer.claims.held)
        await cluster.near.delete(key)

    other = cluster.node("other", near=override_calls(cluster.near, delete=delete))
    for _ in range(20):
        await other.scrubber.run_due()
        await anyio.sleep(10)

    assert blob.state is BlobState.DOOMED
    assert set(writers) == {0}
    assert isinstance(await writing.outcome(), ImageDeleted)
    assert not cluster.keys
    assert not cluster.catalog.blobs


@pytest.mark.rule("bytes.3")
async def test_a_writer_frozen_for_long_leaves_a_row_for_its_bytes(cluster: Cluster) -> None:
    """It wakes when its row has gone, writes, and what it wrote is not forgotten: also when the
    catalog is away for a moment then.
    """
    await cluster.queued(A)
    add_stray = nth(cluster.catalog.add_stray, 1, before=catalog_unavailable)
    catalog = override_calls(cluster.catalog, add_stray=add_stray)

    async def frozen(key: str, blocks: AsyncIterable[Block], *_: object) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(300)
            size_bytes = await cluster.near.put(key, blocks)
        return size_bytes  # noqa: RET504 - a scope may swallow

    near = override_calls(cluster.near, put=frozen)
    writer = cluster.node("frozen", near=near, catalog=catalog, beats=False)
    writing = cluster.start(writer.upload(A))
    await cluster.settle(250)
    assert not cluster.catalog.blobs
    assert isinstance(await writing.outcome(), ClaimLost)
    assert cluster.keys

    await cluster.settle()

    assert not cluster.keys
    assert not cluster.catalog.blobs


async def test_a_failed_writer_never_deletes(cluster: Cluster) -> None:
    """The writer of bytes does not delete them; the scrubber does."""
    await cluster.queued(A)
    near = override_calls(cluster.near, delete=store_fails)
    with pytest.raises(ClientVanished):
        await cluster.node(near=near).upload(A, send_broken(ClientVanished()))
    (blob,) = cluster.catalog.blobs.values()
    assert blob.state is BlobState.DOOMED
    assert cluster.keys == {blob.key}


@pytest.mark.rule("bytes.5")
async def test_a_failed_writer_tells_what_failed_and_not_that_its_row_did(cluster: Cluster) -> None:
    """The catalog went away meanwhile; the caller still hears why the upload failed."""
    await cluster.queued(A)
    modify = from_nth(cluster.catalog.modify_image, 2, catalog_fails)
    catalog = override_calls(cluster.catalog, modify_image=modify, add_stray=catalog_fails)
    with pytest.raises(DataRefused):
        await cluster.node(catalog=catalog).upload(A, send(), 3)
    await cluster.settle()
    assert not cluster.keys
