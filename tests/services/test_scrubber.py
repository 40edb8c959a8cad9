"""The scrubber: what is due goes, the oldest first, and nothing else does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.blob import BlobState
from imaged.core.errors import (
    CatalogError,
    ImageExists,
    InvalidTransition,
    NotRestorable,
    StoreError,
)
from imaged.core.lifecycle import Status
from imaged.core.removal import deactivate
from imaged.ports.store import Stores
from imaged.services.scrubber import ROUNDS
from support.faults import catalog_fails, detour, hangs, nth, store_fails
from support.node import BODY, A, B, Node, Site, image_id, send
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


def eager(site: Site, name: str = "scrubber", **settings: object) -> Node:
    """A node without patience, whose scrubber has these settings."""
    node = site.node(name, delay=NOW)
    node.scrubber.settings = replace(node.scrubber.settings, **settings)  # type: ignore[arg-type]
    return node


async def doomed(site: Site, *numbers: int, every: float = 0) -> list[str]:
    """Delete images, one after the other; return the keys of their bytes."""
    keys = []
    for number in numbers:
        keys.append((await site.active(image_id(number))).locations[0].key)
        await site.node().delete(image_id(number), delayed=False)
        await anyio.sleep(every)
    return keys


# the delay


async def test_the_delay_is_the_one_configured_now(site: Site) -> None:
    """Lowered, it frees space at the next round; raised, it saves what still waits."""
    await site.active(A)
    node = site.node(delay=timedelta(seconds=100))
    await node.delete(A)
    await anyio.sleep(60)

    assert not await node.scrubber.run_due()
    node.scrubber.settings = replace(node.scrubber.settings, delay=timedelta(seconds=500))
    await anyio.sleep(60)
    assert not await node.scrubber.run_due()
    assert site.keys

    node.scrubber.settings = replace(node.scrubber.settings, delay=timedelta(seconds=110))
    report = await node.scrubber.run_due()

    assert (report.expired, report.deleted, report.deleted_bytes) == (1, 1, len(BODY))
    assert not site.keys


async def test_no_delay_frees_what_waits_at_once(site: Site) -> None:
    """Also what was deleted while there was a delay."""
    await site.active(A)
    node = site.node()
    await node.delete(A)

    await eager(site).scrubber.run_due()

    assert (await site.image(A)).status is Status.DELETED
    assert not site.keys


async def test_the_delay_counts_from_the_last_delete(site: Site) -> None:
    """A restored image that is deleted again has its whole delay before it."""
    await site.active(A)
    node = site.node(delay=timedelta(seconds=100))
    await node.delete(A)
    await anyio.sleep(90)
    await node.restore(A)
    await node.delete(A)
    await anyio.sleep(90)

    await node.scrubber.run_due()

    assert (await node.restore(A)).status is Status.ACTIVE


async def test_what_is_held_is_never_touched(site: Site) -> None:
    """Whatever its status: active, deactivated, being written, staged, still to be restored."""
    await site.active(A)
    await site.change((await site.active(B)).id, deactivate)
    saving, staged, waiting = (image_id(n) for n in (1, 2, 3))
    for number in (saving, staged):
        await site.queued(number)
    await site.active(waiting)
    node = site.node()
    site.start(node.upload(saving, send(chunks=9, every=5)))
    await node.stage(staged)
    await node.delete(waiting)
    before = set(site.catalog.blobs)
    await anyio.sleep(1)

    for _ in range(5):
        assert not await node.scrubber.run_due()
        await anyio.sleep(10)

    assert before <= site.keys
    site.audit()


# order, batches, and several at a time


async def test_the_oldest_goes_first(site: Site) -> None:
    """What has been due for longest is in the first batch, and so on."""
    keys = await doomed(site, 5, 30, 9, 1, 77, 2, 8, 40, 23, 7, 90, 4, every=10)
    deleted: list[str] = []

    async def watched(key: str) -> None:
        deleted.append(key)
        await site.near.delete(key)

    node = site.node(near=detour(site.near, delete=watched))
    node.scrubber.settings = replace(node.scrubber.settings, concurrency=1)
    await node.scrubber.run_due()

    for begin in range(0, len(keys), ROUNDS):
        batch = slice(begin, begin + ROUNDS)
        assert sorted(deleted[batch]) == sorted(keys[batch])


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_so_many_are_deleted_at_once(site: Site, concurrency: int) -> None:
    """As many as configured, and no more."""
    await doomed(site, *range(1, 31))
    busy, most = 0, 0

    async def slow(key: str) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await anyio.sleep(1)
        await site.near.delete(key)
        busy -= 1

    node = site.node(near=detour(site.near, delete=slow))
    node.scrubber.settings = replace(node.scrubber.settings, concurrency=concurrency)
    report = await node.scrubber.run_due()

    assert most == concurrency
    assert report.deleted == 30
    assert elapsed() >= 30 / concurrency


async def test_one_round_does_all_that_is_due(site: Site) -> None:
    """However many batches that takes."""
    numbers = range(1, 251)
    for number in numbers:
        await site.active(image_id(number))
        await site.node().delete(image_id(number))

    report = await eager(site).scrubber.run_due()

    assert (report.expired, report.deleted) == (250, 250)
    assert not site.keys
    assert not site.catalog.blobs


async def test_several_scrubbers_side_by_side_share_the_work(site: Site) -> None:
    """None of them works on what another one has taken; together they leave nothing."""
    await doomed(site, *range(1, 41))
    deleted: list[str] = []

    async def slow(key: str) -> None:
        deleted.append(key)
        await anyio.sleep(1)
        await site.near.delete(key)

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            node = site.node(name, near=detour(site.near, delete=slow))
            tasks.start_soon(node.scrubber.run_due)

    assert sorted(deleted) == sorted(set(deleted))
    assert len(deleted) == 40
    assert not site.keys


async def test_what_a_dead_scrubber_had_taken_comes_back(site: Site) -> None:
    """Nobody has to know that it died: after a while its blobs are due again."""
    (key,) = await doomed(site, 1)
    dead = site.node("dead", near=detour(site.near, delete=hangs))
    site.start(dead.scrubber.run_due())
    await anyio.sleep(1)

    assert not await site.node().scrubber.run_due()
    assert site.keys == {key}
    await anyio.sleep(61)
    await site.node().scrubber.run_due()

    assert not site.keys
    assert not site.catalog.blobs


async def test_bytes_that_are_gone_already_are_fine(site: Site) -> None:
    """A delete that was carried out twice, or by somebody else, is a delete."""
    (key,) = await doomed(site, 1)
    await site.near.delete(key)

    assert (await site.node().scrubber.run_due()).deleted == 1
    assert not site.catalog.blobs


# what will not go


async def test_bytes_that_will_not_go_do_not_hold_up_others(site: Site) -> None:
    """More of them than fit in any batch, all of them older: the others go in the same round."""
    keys = await doomed(site, *range(1, 101))
    bad = set(keys[:80])
    tried: list[str] = []

    async def stubborn(key: str) -> None:
        tried.append(key)
        if key in bad:
            raise StoreError("near", "may not be written to")
        await site.near.delete(key)

    node = site.node(near=detour(site.near, delete=stubborn))
    report = await node.scrubber.run_due()

    assert (report.deleted, report.failed) == (20, 80)
    assert site.keys == bad
    assert sorted(tried) == sorted(keys)

    await anyio.sleep(3600)
    tried.clear()
    await node.scrubber.run_due()
    assert sorted(tried) == sorted(bad)


async def test_a_failure_is_kept_with_the_bytes_and_backs_off(site: Site) -> None:
    """How often, why, and when again: after 10 s, 20 s, 40 s … and an hour at most."""
    (key,) = await doomed(site, 1)
    node = site.node(near=detour(site.near, delete=store_fails))
    waits = []
    for failures in range(1, 15):
        await node.scrubber.run_due()
        blob = site.catalog.blobs[key]
        assert blob.failures == failures
        assert blob.last_error == "The store 'near' is down."
        assert blob.due_at is not None
        waits.append((blob.due_at - site.now()).total_seconds())
        assert not await node.scrubber.run_due()
        await anyio.sleep(waits[-1])

    assert waits[:5] == [10, 20, 40, 80, 160]
    assert waits[-3:] == [3600, 3600, 3600]


async def test_an_error_is_told_once_per_change(site: Site) -> None:
    """The same error again is no news; another one is."""
    await doomed(site, 1)
    reasons = ["is down"] * 3 + ["is full of sand"] * 2
    left = iter(reasons)

    async def delete(_: str) -> None:
        raise StoreError("near", next(left))

    node = site.node(near=detour(site.near, delete=delete))
    with capture_logs() as logs:
        for _ in reasons:
            await node.scrubber.run_due()
            await anyio.sleep(3600)
    told = [entry["error"] for entry in logs if entry["event"] == "blob.delete_failed"]

    assert told == ["The store 'near' is down.", "The store 'near' is full of sand."]


async def test_bytes_of_a_store_that_is_not_configured_are_put_off(site: Site) -> None:
    """They wait until it is configured again; everything else goes on."""
    await site.queued(A)
    await site.node().upload(A, store="far")
    await site.node().delete(A, delayed=False)
    await doomed(site, 1)
    one_store = Node("one store", site.catalog, Stores("near", {"near": site.near}))

    report = await one_store.scrubber.run_due()
    (blob,) = site.catalog.blobs.values()

    assert (report.deleted, report.failed) == (1, 1)
    assert (blob.store, blob.failures) == ("far", 1)
    await anyio.sleep(60)
    await site.node("complete").scrubber.run_due()
    assert not site.keys


async def test_a_catalog_that_fails_in_the_middle_costs_nothing(site: Site) -> None:
    """The bytes are gone but their row is not: it is due again, and a delete twice never hurts."""
    await doomed(site, *range(1, 11))
    forget = nth(site.catalog.forget, 3, before=catalog_fails)
    node = site.node(catalog=detour(site.catalog, forget=forget))

    with capture_logs() as logs:
        report = await node.scrubber.run_due()

    assert report.deleted == 9
    assert [entry["event"] for entry in logs].count("blob.row_kept") == 1
    assert len(site.catalog.blobs) == 1
    await anyio.sleep(61)
    await node.scrubber.run_due()
    assert not site.catalog.blobs


async def test_a_catalog_that_is_away_ends_the_round(site: Site) -> None:
    """Whoever runs the round is told; the next one does it all."""
    await site.active(A)
    node = site.node(delay=NOW)
    await node.delete(A)
    broken = site.node(catalog=detour(site.catalog, modify_image=catalog_fails), delay=NOW)

    with pytest.raises(CatalogError):
        await broken.scrubber.run_due()
    await node.scrubber.run_due()

    assert not site.keys


async def test_one_image_that_may_not_expire_does_not_hold_up_others(site: Site) -> None:
    """Restored at the last moment: it stays, and the others go."""
    for name in (A, B):
        await site.active(name)
        await site.node().delete(name)

    async def restored(*_: object) -> None:
        await site.node().restore(A)

    modify = nth(site.catalog.modify_image, 1, before=restored)
    node = site.node(catalog=detour(site.catalog, modify_image=modify), delay=NOW)

    report = await node.scrubber.run_due()

    assert report.expired == 1
    assert (await site.image(A)).status is Status.ACTIVE
    assert (await site.image(B)).status is Status.DELETED
    site.audit()


# records, and looking only


async def test_records_are_buried_after_their_time(site: Site) -> None:
    """What is left of them is that their ids are never used again."""
    await site.queued(A)
    await site.active(B)
    node = eager(site, keep_records=timedelta(seconds=1000))
    await node.delete(A)
    await anyio.sleep(900)
    assert not (await node.scrubber.run_due()).buried

    await anyio.sleep(100)
    report = await node.scrubber.run_due()

    assert report.buried == 1
    assert set(site.catalog.images) == {B}
    with pytest.raises(ImageExists):
        await site.queued(A)


async def test_a_record_that_waits_for_its_bytes_is_not_buried(site: Site) -> None:
    """Its time counts from when it became deleted."""
    await site.active(A)
    stuck = site.node(near=detour(site.near, delete=store_fails), delay=NOW)
    stuck.scrubber.settings = replace(stuck.scrubber.settings, keep_records=timedelta(seconds=100))
    await stuck.delete(A)
    for _ in range(5):
        await stuck.scrubber.run_due()
        await anyio.sleep(100)

    assert (await site.image(A)).status is Status.PENDING_DELETE
    await anyio.sleep(3600)
    await eager(site, keep_records=timedelta(seconds=100)).scrubber.run_due()
    assert (await site.image(A)).status is Status.DELETED


async def test_a_preview_touches_nothing(site: Site) -> None:
    """It says what would expire and what is doomed, and that is all that it does."""
    await site.active(A)
    await site.active(B)
    node = site.node(delay=NOW)
    await node.delete(A)
    await node.delete(B, delayed=False)
    before = (dict(site.catalog.images), dict(site.catalog.blobs), site.keys)

    preview = await node.scrubber.preview()

    assert [image.id for image in preview.images] == [A]
    assert [blob.state for blob in preview.blobs] == [BlobState.DOOMED]
    assert before == (site.catalog.images, site.catalog.blobs, site.keys)
    assert (await node.scrubber.run_due()).expired == 1


async def test_a_restore_during_the_scrub_is_whole_or_refused(site: Site) -> None:
    """Fifty images expire while somebody restores them all: none is restored half."""
    names = [image_id(number) for number in range(1, 51)]
    for name in names:
        await site.active(name)
        await site.node().delete(name)
    node = eager(site)
    restored: set[str] = set()

    async def restore_all() -> None:
        for name in reversed(names):
            with suppress(NotRestorable, InvalidTransition):
                restored.add((await node.restore(name)).id)

    restoring = site.start(restore_all())
    await node.scrubber.run_due()
    await restoring.outcome()

    assert 0 < len(restored) < 50
    assert {i.id for i in site.catalog.images.values() if i.status is Status.ACTIVE} == restored
    site.audit()
