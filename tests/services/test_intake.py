"""Bytes on their way in: stages, verdicts, keys, and what a failed writer leaves."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from imaged.core.access import Caller
from imaged.core.blob import BlobState
from imaged.core.block import Block
from imaged.core.disk_format import FormatPolicy
from imaged.core.errors import (
    ClaimLost,
    ClientVanished,
    DataRefused,
    FormatRefused,
    FormatsUnset,
    ImageDeleted,
    ImageNotFound,
    NotPermitted,
    SizeMismatch,
    StoreError,
    StoreFull,
    TooLarge,
    UnknownStore,
)
from imaged.core.lifecycle import Status
from imaged.services.stages import StageSettings
from imaged.stores.memory import MemoryStore
from support import disk_images
from support.faults import catalog_fails, detour, from_nth, nth, store_fails
from support.node import ADMIN, BODY, OWNER, A, Site, send, send_torn
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

# what is learnt of the bytes


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1000, 10**6])
async def test_what_the_bytes_are_is_known_however_they_are_cut(
    site: Site, chunk_bytes: int
) -> None:
    """Digests, sizes and the disk inside are the same for every way to cut a body."""
    data = disk_images.qcow2()[:1024]
    await site.queued(A, disk_format="qcow2")

    image = await site.node().upload(A, cut(data, chunk_bytes), len(data))

    assert image.content is not None
    assert image.content.size_bytes == len(data)
    assert image.content.checksum == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert image.content.hash_algorithm == "sha512"
    assert image.content.hash_value == hashlib.sha512(data).hexdigest()
    assert image.content.virtual_size_bytes == disk_images.DISK
    site.audit()


async def test_the_second_digest_is_configured(site: Site) -> None:
    """Another algorithm, and its name is kept with the digest."""
    await site.queued(A)
    node = site.node(stages=StageSettings(hash_algorithm="sha256"))

    image = await node.upload(A)

    assert image.content is not None
    assert image.content.hash_algorithm == "sha256"
    assert image.content.hash_value == hashlib.sha256(BODY).hexdigest()


async def test_an_image_may_be_empty(site: Site) -> None:
    """No bytes at all are whole, too, and are not asked for their format."""
    await site.queued(A, disk_format="qcow2")

    image = await site.node().upload(A, cut(b"", 1), 0)

    assert image.status is Status.ACTIVE
    assert image.content is not None
    assert image.content.size_bytes == 0
    site.audit()


async def test_bytes_go_to_the_store_that_is_asked_for(site: Site) -> None:
    """The default one takes what nobody sends elsewhere."""
    await site.queued(A)

    image = await site.node().upload(A, send(), store="far")

    assert image.locations[0].store == "far"
    assert set(site.far.blobs) == {image.locations[0].key}


# what is refused before anything is read


@pytest.mark.parametrize(
    ("caller", "attributes", "announced_bytes", "store", "error"),
    [
        (ADMIN, {}, 101, None, TooLarge),
        (ADMIN, {}, None, "nowhere", UnknownStore),
        (ADMIN, {"disk_format": None}, None, None, FormatsUnset),
        (ADMIN, {"container_format": None}, None, None, FormatsUnset),
        (Caller("bob", "p2", frozenset({"member"})), {}, None, None, ImageNotFound),
        (Caller("rita", "p1", frozenset({"reader"})), {}, None, None, NotPermitted),
    ],
)
async def test_what_cannot_succeed_is_refused_before_anything_is_read(  # noqa: PLR0917 - a table
    site: Site,
    caller: Caller,
    attributes: dict[str, Any],
    announced_bytes: int | None,
    store: str | None,
    error: type[Exception],
) -> None:
    """Nothing is read, nothing is written, nothing has changed."""
    before = await site.queued(A, **attributes)
    node = site.node(stages=StageSettings(max_size_bytes=100))

    with pytest.raises(error):
        await node.upload(A, untouchable(), announced_bytes, store, caller=caller)

    assert await site.image(A) == before
    assert not site.keys
    assert not site.catalog.blobs


async def test_an_owner_may_write(site: Site) -> None:
    """A member of the project, with no other role."""
    await site.queued(A)

    assert (await site.node().upload(A, caller=OWNER)).status is Status.ACTIVE


# what is refused as it comes


@pytest.mark.parametrize(
    ("announced_bytes", "error"),
    [(len(BODY) + 1, SizeMismatch), (len(BODY) - 1, SizeMismatch), (0, SizeMismatch)],
)
async def test_a_body_of_another_length_than_announced_is_refused(
    site: Site, announced_bytes: int, error: type[Exception]
) -> None:
    """Shorter or longer: no data, no bytes left, and the retry works."""
    await site.queued(A)

    with pytest.raises(error):
        await site.node().upload(A, send(), announced_bytes)

    await assert_clean_and_retried(site)


async def test_a_body_that_outgrows_the_largest_size_is_stopped(site: Site) -> None:
    """Not at its end: as soon as it is too large, and no byte over the limit is written."""
    await site.queued(A)
    node = site.node(stages=StageSettings(max_size_bytes=100))

    with pytest.raises(TooLarge):
        await node.upload(A, send(chunks=1000, every=1))

    assert elapsed() < 20
    assert max(map(len, site.near.partial.values())) <= 100
    await assert_clean_and_retried(site)


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ("qcow2", disk_images.raw(2048)),
        ("raw", disk_images.qcow2()),
        ("qcow2", disk_images.qcow2(backing_file=b"/etc/hostname")),
    ],
)
async def test_bytes_of_another_format_than_declared_never_become_visible(
    site: Site, declared: str, data: bytes
) -> None:
    """The verdict comes before the commit; the image is queued and says why."""
    await site.queued(A, disk_format=declared)

    with pytest.raises(FormatRefused) as refusal:
        await site.node().upload(A, cut(data, 512), len(data))
    image = await site.image(A)

    assert not site.near.blobs
    assert image.status is Status.QUEUED
    assert image.last_failure is not None
    assert image.last_failure.reason == str(refusal.value)
    await assert_clean_and_retried(site)


async def test_checking_the_format_can_be_switched_off(site: Site) -> None:
    """Then anything may be called anything."""
    await site.queued(A, disk_format="qcow2")
    policy = FormatPolicy(check_format=False, refuse_unsafe=False)

    image = await site.node(stages=StageSettings(formats=policy)).upload(A)

    assert image.status is Status.ACTIVE


async def test_containers_are_not_inspected(site: Site) -> None:
    """What is packed has no disk format that could be seen."""
    await site.queued(A, disk_format="qcow2", container_format="ova")

    assert (await site.node().upload(A)).status is Status.ACTIVE


# what goes wrong


@pytest.mark.parametrize("error", [ClientVanished(), StoreError("near", "is on fire")])
async def test_a_body_that_breaks_off_leaves_nothing(site: Site, error: Exception) -> None:
    """What the body raises is what the caller hears; the retry works."""
    await site.queued(A)

    with pytest.raises(type(error)):
        await site.node().upload(A, send_torn(error, after=5))

    await assert_clean_and_retried(site)


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

    async def delete(key: str) -> None:
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

    async def frozen(key: str, blocks: AsyncIterable[Block], expected: int | None) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(300)
            size_bytes = await site.near.put(key, blocks, expected)
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
    await assert_clean_and_retried(site)


async def assert_clean_and_retried(site: Site, disk_format: str = "raw") -> None:
    """Nothing is left of a failure, and the next attempt works."""
    image = await site.image(A)
    assert image.status is Status.QUEUED
    assert image.content is None
    await site.settle()
    assert not site.keys
    assert not site.catalog.blobs
    assert (await site.catalog.get_account("p1")).used_bytes == 0

    await site.change(A, lambda image: replace(image, disk_format=disk_format))
    assert (await site.node("retry").upload(A)).status is Status.ACTIVE
    site.audit()


async def cut(data: bytes, chunk_bytes: int) -> AsyncGenerator[bytes]:
    """A body in chunks of this size."""
    for start in range(0, len(data), chunk_bytes):
        yield data[start : start + chunk_bytes]


async def untouchable() -> AsyncGenerator[bytes]:
    """A body that nobody may read."""
    raise AssertionError("the body was read")
    yield b""
