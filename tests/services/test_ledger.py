"""The ledger of blobs, as the services use it: what is held, what is doomed, and what never is."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from imaged.core.blob import BlobState
from imaged.core.deletion import deactivate
from imaged.core.errors import (
    BlobGone,
    ClientVanished,
    NotRestorable,
)
from imaged.core.lifecycle import Status
from imaged.core.uploading import share_data
from support.bodies import BODY, send, send_broken
from support.cluster import Cluster
from support.faults import hangs, nth, override_calls, store_fails
from support.node import LEASE, A, B

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


async def test_a_row_is_there_before_the_first_byte_and_after_the_last(cluster: Cluster) -> None:
    """The ledger has a row for all bytes that exist."""
    await cluster.queued(A)
    cluster.start(cluster.node().upload(A, send(chunks=4, every=5)))
    seen: list[tuple[bool, BlobState | None]] = []

    async def look() -> None:
        states = [blob.state for blob in cluster.catalog.blobs.values()]
        seen.append((bool(cluster.keys), states[0] if states else None))

    for _ in range(5):
        await look()
        await anyio.sleep(6)
    await cluster.node().delete(A, delayed=False)
    await look()
    await cluster.node().scrubber.run_due()
    await look()

    assert seen[0] == (False, None)
    assert (True, BlobState.WRITING) in seen
    assert (True, BlobState.KEPT) in seen
    assert seen[-2:] == [(True, BlobState.DOOMED), (False, None)]


# delete, restore, expire


async def test_delete_and_restore_touch_no_bytes(cluster: Cluster) -> None:
    """Everything that an image had is there again: status, bytes, tags, content."""
    before = await cluster.active(A)
    node = cluster.node()

    await node.delete(A)
    rows = dict(cluster.catalog.blobs)
    back = await node.restore(A)

    assert rows == cluster.catalog.blobs
    assert (back.status, back.locations, back.content, back.tags) == (
        Status.ACTIVE,
        before.locations,
        before.content,
        before.tags,
    )
    cluster.audit()


@pytest.mark.rule("ledger.7")
async def test_a_deactivated_image_is_restored_as_deactivated(cluster: Cluster) -> None:
    """To delete and restore an image is no way around what an admin forbade."""
    await cluster.active(A)
    await cluster.change(A, deactivate)
    node = cluster.node()
    await node.delete(A)
    assert (await node.restore(A)).status is Status.DEACTIVATED
    with pytest.raises(NotRestorable):
        await node.restore(A)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.rule("ledger.6")
async def test_a_delete_without_bytes_waits_for_nothing(cluster: Cluster, *, killed: bool) -> None:
    """Nothing could be restored, so the image is deleted at once, whatever the delay."""
    await cluster.queued(A)
    node = cluster.node(kill_uploads=killed)
    with pytest.raises(ClientVanished):
        await node.upload(A, send_broken(ClientVanished()))
    assert (await node.delete(A)).status is Status.DELETED


@pytest.mark.rule("ledger.8", "ledger.11")
async def test_restore_ends_with_expiry(cluster: Cluster) -> None:
    """Bytes that are perhaps being deleted are never restored, however late the delete comes."""
    await cluster.active(A)
    dying = cluster.node(near=override_calls(cluster.near, delete=hangs), delay=NOW)
    await dying.delete(A)
    cluster.start(dying.scrubber.run_due())
    await anyio.sleep(100)

    with pytest.raises(NotRestorable):
        await cluster.node().restore(A)
    image = await cluster.image(A)

    assert image.status is Status.PENDING_DELETE
    assert image.is_expired
    await cluster.near.delete(image.locations[0].key)  # the late delete arrives
    cluster.audit()


@pytest.mark.rule("ledger.9")
async def test_expiry_is_of_the_delete_that_was_seen(cluster: Cluster) -> None:
    """Restored and deleted again while the scrubber looked: the new delete has its own delay."""
    await cluster.active(A)
    node = cluster.node()
    await node.delete(A)

    async def restored_and_deleted_again(*_: object) -> None:
        await node.restore(A)
        await node.delete(A)

    modify = nth(cluster.catalog.modify_image, 1, before=restored_and_deleted_again)
    slow = cluster.node(
        "slow", catalog=override_calls(cluster.catalog, modify_image=modify), delay=NOW
    )
    await anyio.sleep(1)
    slow.scrubber.settings = node.scrubber.settings
    await anyio.sleep(node.scrubber.settings.delay.total_seconds())
    await slow.scrubber.run_due()

    assert (await node.restore(A)).status is Status.ACTIVE
    cluster.audit()


@pytest.mark.rule("ledger.11")
async def test_the_record_goes_with_its_last_bytes_and_not_before(cluster: Cluster) -> None:
    """While a store is down, an expired image is not deleted yet, and its bytes have a row."""
    await cluster.active(A)
    node = cluster.node(near=override_calls(cluster.near, delete=store_fails), delay=NOW)
    await node.delete(A)

    await node.scrubber.run_due()
    assert (await cluster.image(A)).status is Status.PENDING_DELETE
    assert cluster.keys
    await cluster.settle()

    assert (await cluster.image(A)).status is Status.DELETED
    assert not cluster.keys


# doomed is final


@pytest.mark.parametrize("have_gone", [False, True])
@pytest.mark.rule("ledger.1", "ledger.2")
async def test_deleted_bytes_are_never_shared(cluster: Cluster, *, have_gone: bool) -> None:
    """A clone comes too late when its source was deleted, be its bytes doomed or gone."""
    source = await cluster.active(A)
    await cluster.queued(B)
    await cluster.node().delete(A, delayed=False)
    if have_gone:
        await cluster.settle()

    with pytest.raises(BlobGone):
        await cluster.change(B, share_data(source))

    assert (await cluster.image(B)).status is Status.QUEUED
    cluster.audit()


@pytest.mark.rule("ledger.3")
async def test_unfinished_bytes_are_never_shared(cluster: Cluster) -> None:
    """What is still being written may never be whole."""
    await cluster.queued(A)
    await cluster.queued(B)
    cluster.start(cluster.node().upload(A, send(chunks=5, every=5)))
    await anyio.sleep(1)
    source = await cluster.image(A)

    with pytest.raises(BlobGone):
        await cluster.change(B, share_data(source))
    await anyio.sleep(30)

    cluster.audit()


@pytest.mark.rule("ledger.5")
async def test_only_doomed_rows_leave(cluster: Cluster) -> None:
    """A message of a scrubber gone mad, or of long ago, cannot hit what is needed."""
    kept = (await cluster.active(A)).locations[0].key
    await cluster.queued(B)
    cluster.start(cluster.node().upload(B, send(chunks=5, every=5)))
    await anyio.sleep(1)
    rows = dict(cluster.catalog.blobs)

    for key in rows:
        await cluster.catalog.reschedule(key, "nonsense")
        await cluster.catalog.remove_blob(key)

    assert kept in rows
    assert rows == cluster.catalog.blobs


@pytest.mark.rule("bytes.2")
async def test_bytes_of_a_dead_writer_are_due_after_its_lease(cluster: Cluster) -> None:
    """And not when the image was deleted under it."""
    await cluster.queued(A)
    cluster.start(cluster.node(beats=False).upload(A, send(chunks=99, every=5))).ignore()
    await anyio.sleep(10)
    await cluster.node().delete(A)
    deleted_at = cluster.now()
    (blob,) = cluster.catalog.blobs.values()
    assert blob.due_at == deleted_at + LEASE


async def test_a_finished_blob_has_its_exact_size(cluster: Cluster) -> None:
    """Reserved while being written, exact afterwards, in the row and on the image."""
    await cluster.queued(A)
    image = await cluster.node(slice_bytes=1000).upload(A)
    (blob,) = cluster.catalog.blobs.values()
    assert (blob.state, blob.size_bytes, blob.holders) == (BlobState.KEPT, len(BODY), 1)
    assert image.locations[0].size_bytes == len(BODY)
