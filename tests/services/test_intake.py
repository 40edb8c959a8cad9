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
from imaged.stores.memory import MemoryStore
from support.bodies import send, send_torn, untouchable
from support.faults import catalog_fails, detour, from_nth, nth, store_fails
from support.node import A
from support.site import Site

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("error", [ClientVanished(), StoreError("near", "is on fire")])
async def test_a_body_that_breaks_off_leaves_nothing(site: Site, error: Exception) -> None:
    """What the body raises is what the caller hears; the retry works."""
    await site.queued(A)

    with pytest.raises(type(error)):
        await site.node().upload(A, send_torn(error, after=5))

    await site.require_clean_retry(A)


async def test_a_full_store_leaves_nothing(site: Site) -> None:
    """Found out in the middle: 'full' is what the caller hears, and the image is queued."""
    await site.queued(A)
    small = MemoryStore("near", capacity_bytes=30)

    with pytest.raises(StoreFull):
        await site.node(near=small).upload(A, send(chunks=10))
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.last_failure is not None
    assert "room" in image.last_failure.reason


async def test_a_store_hears_how_much_will_come(site: Site) -> None:
    """So that one without room for it can say so before the first byte."""
    await site.queued(A)
    small = MemoryStore("near", capacity_bytes=30)

    with pytest.raises(StoreFull):
        await site.node(near=small).upload(A, untouchable(), 31)


async def test_every_attempt_has_a_key_of_its_own(site: Site) -> None:
    """The retry comes before the scrubber: the bytes to be deleted must not be those it writes."""
    await site.queued(A)
    with pytest.raises(ClientVanished):
        await site.node().upload(A, send_torn(ClientVanished()))
    (failed,) = site.catalog.blobs

    image = await site.node().upload(A)
    await site.settle()

    assert image.locations[0].key != failed
    assert site.keys == {image.locations[0].key}


async def test_bytes_still_being_written_are_not_deleted_under_the_pen(site: Site) -> None:
    """A writer that cannot be told writes on until its trust is over; its row waits for that."""
    await site.queued(A)
    deaf = detour(site.catalog, renew_leases=catalog_fails, add_stray=catalog_fails)
    writer = site.node("deaf", catalog=deaf)
    writing = site.start(writer.upload(A, send(chunks=50, every=5)))
    await anyio.sleep(12)
    await site.node().delete(A)
    (blob,) = site.catalog.blobs.values()

    async def delete(key: str, *_: object) -> None:
        assert writer.claims.held == 0, "DELETED UNDER THE PEN"
        await site.near.delete(key)

    other = site.node("other", near=detour(site.near, delete=delete))
    for _ in range(20):
        await other.scrubber.run_due()
        await anyio.sleep(10)

    assert blob.state is BlobState.DOOMED
    assert isinstance(await writing.outcome(), ImageDeleted)
    assert not site.keys
    assert not site.catalog.blobs


async def test_a_writer_frozen_for_long_leaves_a_row_for_its_bytes(site: Site) -> None:
    """It wakes when its row has gone, writes, and what it wrote is not forgotten."""
    await site.queued(A)

    async def frozen(key: str, blocks: AsyncIterable[Block], *_: object) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(300)
            size_bytes = await site.near.put(key, blocks)
        return size_bytes  # noqa: RET504 - a scope may swallow

    writer = site.node("frozen", near=detour(site.near, put=frozen), beats=False)
    writing = site.start(writer.upload(A))
    await site.settle(250)
    assert not site.catalog.blobs
    assert isinstance(await writing.outcome(), ClaimLost)
    assert site.keys

    await site.settle()

    assert not site.keys
    assert not site.catalog.blobs


async def test_a_failed_writer_never_deletes(site: Site) -> None:
    """Whoever writes bytes does not delete them: there is one service that does."""
    await site.queued(A)
    near = detour(site.near, delete=store_fails)

    with pytest.raises(ClientVanished):
        await site.node(near=near).upload(A, send_torn(ClientVanished()))
    (blob,) = site.catalog.blobs.values()

    assert blob.state is BlobState.DOOMED
    assert site.keys == {blob.key}


async def test_a_failed_writer_tells_what_failed_and_not_that_its_row_did(site: Site) -> None:
    """The catalog went away meanwhile; the caller still hears why the upload failed."""
    await site.queued(A)
    modify = from_nth(site.catalog.modify_image, 2, catalog_fails)
    catalog = detour(site.catalog, modify_image=modify, add_stray=catalog_fails)

    with pytest.raises(DataRefused):
        await site.node(catalog=catalog).upload(A, send(), 3)
    await site.settle()

    assert not site.keys


async def test_the_retry_clears_what_the_attempt_before_had(site: Site) -> None:
    """Nothing of the first attempt shines through: sizes, digests, locations."""
    await site.queued(A)
    put = nth(site.near.put, 1, after=store_fails)

    with pytest.raises(StoreError):
        await site.node(near=detour(site.near, put=put)).upload(A, send(chunks=5))
    image = await site.image(A)

    assert image.content is None
    assert not image.locations
    await site.require_clean_retry(A)
