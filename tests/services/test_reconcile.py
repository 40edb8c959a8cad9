"""Reconcile: bytes without a row go, carefully; rows without bytes are told; nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.errors import CatalogError, StoreError
from imaged.core.keys import make_key
from imaged.core.lifecycle import Status
from imaged.core.strays import StrayLimits
from support.bodies import send
from support.faults import catalog_fails, detour, nth, store_fails
from support.node import A, B, image_id
from support.site import Site

pytestmark = pytest.mark.anyio

DAY = timedelta(hours=24).total_seconds()


def plant(site: Site, *numbers: int) -> list[str]:
    """Put bytes into a store that no row tells of."""
    keys = [make_key(image_id(number), UUID(int=number)) for number in numbers]
    site.near.blobs.update(dict.fromkeys(keys, b"stray"))
    return keys


async def test_strays_go_after_a_quarantine(site: Site) -> None:
    """They are doomed when they are found, and deleted a day later."""
    (stray,) = plant(site, 7)
    node = site.node()

    report = await node.reconcile.run(apply=True, max_strays=1)
    await node.scrubber.run_due()
    assert ([place.key for place in report.strays], report.doomed) == ([stray], 1)
    assert site.keys == {stray}
    await anyio.sleep(DAY - 1)
    await node.scrubber.run_due()
    assert site.keys == {stray}
    await anyio.sleep(1)
    await node.scrubber.run_due()

    assert not site.keys
    assert not site.catalog.blobs


async def test_unfinished_writes_without_a_row_go_too(site: Site) -> None:
    """A begin that arrived after everything else was over."""
    (stray,) = plant(site, 7)
    site.near.partial[stray] = site.near.blobs.pop(stray)
    node = site.node()
    await node.reconcile.run(apply=True, max_strays=1)
    await anyio.sleep(DAY)

    await node.scrubber.run_due()

    assert not site.keys


async def test_without_apply_nothing_is_touched(site: Site) -> None:
    """It says what it would do: the same strays that it then dooms."""
    plant(site, 7, 8)
    node = site.node()

    report = await node.reconcile.run(apply=False)
    assert (len(report.strays), report.doomed) == (2, 0)
    assert not site.catalog.blobs

    applied = await node.reconcile.run(apply=True, max_strays=2)
    assert (applied.strays, applied.doomed) == (report.strays, 2)


async def test_strays_are_told_once_they_are_known_no_more(site: Site) -> None:
    """A second look finds a row, and leaves its quarantine as it is."""
    (stray,) = plant(site, 7)
    node = site.node()
    with capture_logs() as logs:
        await node.reconcile.run(apply=True, max_strays=1)
        due_at = site.catalog.blobs[stray].due_at
        await anyio.sleep(60)
        report = await node.reconcile.run_due()

    assert not report.strays
    assert site.catalog.blobs[stray].due_at == due_at
    assert [entry["event"] for entry in logs].count("blob.stray_found") == 1


async def test_a_brake_holds_where_strays_are_suspiciously_many(site: Site) -> None:
    """Perhaps the catalog is older than the store: nothing is doomed until an operator says so."""
    plant(site, *range(1, 12))
    node = site.node()

    with capture_logs() as logs:
        report = await node.reconcile.run_due()
    told = [entry for entry in logs if entry["event"] == "reconcile.braked"]
    assert (report.braked, report.doomed, len(report.strays)) == (True, 0, 11)
    assert [(one["store"], one["strays"], one["log_level"]) for one in told] == [
        ("near", 11, "error")
    ]
    assert not site.catalog.blobs

    assert (await node.reconcile.run(apply=True, max_strays=10)).braked
    assert (await node.reconcile.run(apply=True, max_strays=11)).doomed == 11


async def test_a_small_share_of_many_is_not_suspicious(site: Site) -> None:
    """In a large store a few strays more are nothing unusual: within the count and the share."""
    for number in range(100, 108):
        await site.active(image_id(number))
    plant(site, 1, 2)
    node = site.node()

    for limits in (
        StrayLimits(max_strays=1, max_share=0.2),
        StrayLimits(max_strays=2, max_share=0.1),
    ):
        node.reconcile.settings = replace(node.reconcile.settings, limits=limits)
        assert (await node.reconcile.run_due()).braked
    allowed = StrayLimits(max_strays=2, max_share=0.2)
    node.reconcile.settings = replace(node.reconcile.settings, limits=allowed)
    assert (await node.reconcile.run_due()).doomed == 2


async def test_each_store_has_a_brake_of_its_own(site: Site) -> None:
    """A store that is lost to the catalog does not go because another one is large."""
    for number in range(100, 108):
        await site.active(image_id(number))
    plant(site, 1)
    site.far.blobs[make_key(A, UUID(int=1))] = b"somebody's"
    node = site.node()
    half = StrayLimits(max_strays=10, max_share=0.5)
    node.reconcile.settings = replace(node.reconcile.settings, limits=half)

    report = await node.reconcile.run_due()

    assert (report.braked_stores, report.doomed) == (["far"], 1)
    assert {blob.store for blob in site.catalog.blobs.values()} == {"near"}


async def test_missing_bytes_are_told_and_nothing_is_done(site: Site) -> None:
    """Nothing can be done here; the record stays, so that the operator sees whose they were."""
    location = (await site.active(A)).locations[0]
    del site.near.blobs[location.key]
    node = site.node()

    with capture_logs() as logs:
        report = await node.reconcile.run_due()
    told = [entry for entry in logs if entry["event"] == "blob.bytes_missing"]

    assert report.missing == [location]
    assert [(entry["store"], entry["key"]) for entry in told] == [("near", location.key)]
    assert (await site.image(A)).status is Status.ACTIVE


async def test_what_is_being_written_is_no_stray(site: Site) -> None:
    """However often somebody looks, from the first byte to the last."""
    await site.queued(A)
    node = site.node()
    running = site.start(node.upload(A, send(chunks=10, every=5)))

    for _ in range(60):
        report = await node.reconcile.run_due()
        assert not report.strays
        assert not report.missing
        await anyio.sleep(1)

    assert (await running.outcome()).status is Status.ACTIVE
    site.audit()


async def test_a_write_that_begins_between_the_looks_is_no_stray(site: Site) -> None:
    """The ledger is asked after the store: what is in the store has a row by then."""
    await site.queued(A)

    async def list_keys(prefix: str) -> AsyncIterator[str]:
        if prefix == A[:2] + "/":
            await site.node("writer").upload(A)
        async for key in site.near.list_keys(prefix):
            yield key

    node = site.node(near=detour(site.near, list_keys=list_keys))

    report = await node.reconcile.run_due()

    assert not report.strays
    assert (await site.image(A)).status is Status.ACTIVE


async def test_what_is_scrubbed_between_the_looks_is_no_stray(site: Site) -> None:
    """The store is looked at again: bytes that left before their row did are no longer there."""
    await site.active(A)

    async def scrubbed(*_: object) -> None:
        await site.node().delete(A, delayed=False)
        await site.node("scrubber").scrubber.run_due()

    list_keys = nth(site.catalog.list_keys, 0xA1 + 1, before=scrubbed)
    node = site.node(catalog=detour(site.catalog, list_keys=list_keys))

    assert not (await node.reconcile.run_due()).strays
    assert not site.catalog.blobs


async def test_what_is_scrubbed_between_the_looks_is_not_missing(site: Site) -> None:
    """The ledger is asked again before anybody is alarmed."""
    await site.active(A)

    async def scrubbed(*_: object) -> None:
        await site.node().delete(A, delayed=False)
        await site.node("scrubber").scrubber.run_due()

    list_kept = nth(site.catalog.list_kept, 0xA1 + 1, after=scrubbed)
    node = site.node(catalog=detour(site.catalog, list_kept=list_kept))

    assert not (await node.reconcile.run_due()).missing


async def test_doomed_bytes_are_neither_stray_nor_missing(site: Site) -> None:
    """They have a row, and they may go at any moment."""
    await site.active(A)
    await site.active(B)
    await site.node().delete(A, delayed=False)
    key = (await site.image(B)).locations[0].key
    await site.node().delete(B, delayed=False)
    del site.near.blobs[key]

    report = await site.node().reconcile.run_due()

    assert not report.strays
    assert not report.missing


async def test_bytes_of_a_known_key_in_another_store_are_left_alone(site: Site) -> None:
    """Somebody copies a store: what the ledger knows elsewhere is not for us to delete."""
    key = (await site.active(A)).locations[0].key
    site.far.blobs[key] = site.near.blobs[key]

    assert not (await site.node().reconcile.run_due()).strays


async def test_every_store_is_compared(site: Site) -> None:
    """A stray is where it was found."""
    key = make_key(A, UUID(int=1))
    site.far.blobs[key] = b"stray"

    (stray,) = (await site.node().reconcile.run_due()).strays

    assert (stray.store, stray.key) == ("far", key)


async def test_a_store_or_catalog_that_is_away_dooms_nothing(site: Site) -> None:
    """Half a comparison is none: who asked is told, and nothing has changed."""
    plant(site, 0xFE)

    async def away(_: str) -> AsyncIterator[str]:
        await store_fails()
        yield ""

    with pytest.raises(CatalogError):
        await site.node(catalog=detour(site.catalog, list_keys=catalog_fails)).reconcile.run_due()
    with pytest.raises(StoreError):
        await site.node(near=detour(site.near, list_keys=away)).reconcile.run_due()

    assert not site.catalog.blobs


async def test_a_store_that_fails_keeps_no_other_one_waiting(site: Site) -> None:
    """The others are compared, and their strays doomed; who runs the round is told of it."""
    stray = make_key(A, UUID(int=1))
    site.far.blobs[stray] = b"stray"

    async def breaks_in_the_middle(prefix: str) -> AsyncIterator[str]:
        if prefix == "80/":
            await store_fails()
        if prefix == "00/":
            yield make_key(image_id(0), UUID(int=1))

    node = site.node(near=detour(site.near, list_keys=breaks_in_the_middle))
    report = await node.reconcile.run(apply=True, max_strays=1)

    assert report.failed == {"near": "is down"}
    assert set(site.catalog.blobs) == {stray}
    with pytest.raises(StoreError, match="near"):
        await node.reconcile.run_due()


async def test_a_store_that_hangs_is_left_after_a_while(site: Site) -> None:
    """A listing that never ends ends no round for the others."""
    stray = make_key(A, UUID(int=1))
    site.far.blobs[stray] = b"stray"

    async def frozen(_: str) -> AsyncIterator[str]:
        await anyio.sleep_forever()
        yield ""

    node = site.node(near=detour(site.near, list_keys=frozen))
    report = await node.reconcile.run(apply=True, max_strays=1)

    assert report.failed == {"near": "did not list its keys within 0:10:00"}
    assert set(site.catalog.blobs) == {stray}
