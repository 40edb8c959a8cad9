"""The ledger of blobs, as the services use it: what is held, what is doomed, and what never is."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from imaged.core.blob import BlobState
from imaged.core.errors import (
    BlobGone,
    ClientVanished,
    ImageProtected,
    InvalidTransition,
    NotRestorable,
)
from imaged.core.lifecycle import Status
from imaged.core.removal import deactivate
from imaged.core.writing import share_data
from support.bodies import BODY, send, send_torn
from support.faults import detour, hangs, nth, store_fails
from support.node import LEASE, A, B
from support.site import Site

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


async def test_a_row_is_there_before_the_first_byte_and_after_the_last(site: Site) -> None:
    """Whatever bytes anybody finds, the ledger knows them."""
    await site.queued(A)
    site.start(site.node().upload(A, send(chunks=4, every=5)))
    seen: list[tuple[bool, BlobState | None]] = []

    async def look() -> None:
        states = [blob.state for blob in site.catalog.blobs.values()]
        seen.append((bool(site.keys), states[0] if states else None))

    for _ in range(5):
        await look()
        await anyio.sleep(6)
    await site.node().delete(A, delayed=False)
    await look()
    await site.node().scrubber.run_due()
    await look()

    assert seen[0] == (False, None)
    assert (True, BlobState.WRITING) in seen
    assert (True, BlobState.KEPT) in seen
    assert seen[-2:] == [(True, BlobState.DOOMED), (False, None)]


# delete, restore, expire


async def test_delete_and_restore_touch_no_bytes(site: Site) -> None:
    """Everything that an image had is there again: status, bytes, tags, content."""
    before = await site.active(A)
    node = site.node()

    await node.delete(A)
    rows = dict(site.catalog.blobs)
    back = await node.restore(A)

    assert rows == site.catalog.blobs
    assert (back.status, back.locations, back.content, back.tags) == (
        Status.ACTIVE,
        before.locations,
        before.content,
        before.tags,
    )
    site.audit()


async def test_a_deactivated_image_is_restored_as_deactivated(site: Site) -> None:
    """To delete and restore an image is no way around what an admin forbade."""
    await site.active(A)
    await site.change(A, deactivate)
    node = site.node()

    await node.delete(A)

    assert (await node.restore(A)).status is Status.DEACTIVATED
    with pytest.raises(NotRestorable):
        await node.restore(A)


@pytest.mark.parametrize("killed", [False, True])
async def test_a_delete_without_bytes_waits_for_nothing(site: Site, *, killed: bool) -> None:
    """Nothing could be restored, so the image is deleted at once, whatever the delay."""
    await site.queued(A)
    node = site.node(kill_uploads=killed)
    with pytest.raises(ClientVanished):
        await node.upload(A, send_torn(ClientVanished()))

    assert (await node.delete(A)).status is Status.DELETED


async def test_a_protected_image_is_not_deleted(site: Site) -> None:
    """Neither with a delay nor without."""
    await site.queued(A, protected=True)

    with pytest.raises(ImageProtected):
        await site.node().delete(A, delayed=False)


async def test_restore_ends_with_expiry(site: Site) -> None:
    """Bytes that are perhaps being deleted are never restored, however late the delete comes."""
    await site.active(A)
    dying = site.node(near=detour(site.near, delete=hangs), delay=NOW)
    await dying.delete(A)
    site.start(dying.scrubber.run_due())
    await anyio.sleep(100)

    with pytest.raises(NotRestorable):
        await site.node().restore(A)
    image = await site.image(A)

    assert image.status is Status.PENDING_DELETE
    assert image.is_expired
    await site.near.delete(image.locations[0].key)  # the late delete arrives
    site.audit()


async def test_expiry_is_of_the_delete_that_was_seen(site: Site) -> None:
    """Restored and deleted again while the scrubber looked: the new delete has its own delay."""
    await site.active(A)
    node = site.node()
    await node.delete(A)

    async def restored_and_deleted_again(*_: object) -> None:
        await node.restore(A)
        await node.delete(A)

    modify = nth(site.catalog.modify_image, 1, before=restored_and_deleted_again)
    slow = site.node("slow", catalog=detour(site.catalog, modify_image=modify), delay=NOW)
    await anyio.sleep(1)
    slow.scrubber.settings = node.scrubber.settings
    await anyio.sleep(node.scrubber.settings.delay.total_seconds())
    await slow.scrubber.run_due()

    assert (await node.restore(A)).status is Status.ACTIVE
    site.audit()


async def test_the_record_goes_with_its_last_bytes_and_not_before(site: Site) -> None:
    """While a store is down, an expired image is not deleted yet, and its bytes have a row."""
    await site.active(A)
    node = site.node(near=detour(site.near, delete=store_fails), delay=NOW)
    await node.delete(A)

    await node.scrubber.run_due()
    assert (await site.image(A)).status is Status.PENDING_DELETE
    assert site.keys
    await site.settle()

    assert (await site.image(A)).status is Status.DELETED
    assert not site.keys


# doomed is final


async def test_doomed_bytes_are_never_shared(site: Site) -> None:
    """Who read the source before it was deleted comes too late with his clone."""
    source = await site.active(A)
    await site.queued(B)
    await site.node().delete(A, delayed=False)

    with pytest.raises(BlobGone):
        await site.change(B, share_data(source))

    assert (await site.image(B)).status is Status.QUEUED
    site.audit()


async def test_bytes_without_a_row_are_never_shared(site: Site) -> None:
    """Later still: nothing of the bytes is left, and nothing refers to them."""
    source = await site.active(A)
    await site.queued(B)
    await site.node().delete(A, delayed=False)
    await site.settle()

    with pytest.raises(BlobGone):
        await site.change(B, share_data(source))

    assert (await site.image(B)).status is Status.QUEUED
    assert not site.catalog.blobs


async def test_unfinished_bytes_are_never_shared(site: Site) -> None:
    """What is still being written may never be whole."""
    await site.queued(A)
    await site.queued(B)
    site.start(site.node().upload(A, send(chunks=5, every=5)))
    await anyio.sleep(1)
    source = await site.image(A)

    with pytest.raises(BlobGone):
        await site.change(B, share_data(source))
    await anyio.sleep(30)

    site.audit()


async def test_only_doomed_rows_leave(site: Site) -> None:
    """A message of a scrubber gone mad, or of long ago, cannot hit what is needed."""
    kept = (await site.active(A)).locations[0].key
    await site.queued(B)
    site.start(site.node().upload(B, send(chunks=5, every=5)))
    await anyio.sleep(1)
    rows = dict(site.catalog.blobs)

    for key in rows:
        await site.catalog.put_off(key, "nonsense")
        await site.catalog.forget(key)

    assert kept in rows
    assert rows == site.catalog.blobs


async def test_what_a_dead_writer_wrote_is_due_when_its_lease_is_over(site: Site) -> None:
    """And not when the image was deleted under it."""
    await site.queued(A)
    site.start(site.node(beats=False).upload(A, send(chunks=99, every=5))).ignore()
    await anyio.sleep(10)
    await site.node().delete(A)
    deleted_at = site.now()

    (blob,) = site.catalog.blobs.values()

    assert blob.due_at == deleted_at + LEASE


async def test_a_finished_blob_has_its_exact_size(site: Site) -> None:
    """Reserved while being written, exact afterwards, in the row and on the image."""
    await site.queued(A)

    image = await site.node(slice_bytes=1000).upload(A)
    (blob,) = site.catalog.blobs.values()

    assert (blob.state, blob.size_bytes, blob.holders) == (BlobState.KEPT, len(BODY), 1)
    assert image.locations[0].size_bytes == len(BODY)


async def test_what_is_active_takes_no_second_body(site: Site) -> None:
    """Bytes of an image that was active never change."""
    before = await site.active(A)

    with pytest.raises(InvalidTransition):
        await site.node().upload(A, send(chunks=3))

    assert await site.image(A) == before
    site.audit()
