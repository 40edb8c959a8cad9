"""Reconcile: bytes without a row go, carefully; rows without bytes are told; nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.blob import make_key
from imaged.core.errors import CatalogError, StoreError
from imaged.core.ledger import StrayLimits
from imaged.core.lifecycle import Status
from imaged.core.place_marker import Place, PlaceKind, warnings_of
from support.bodies import send
from support.cluster import Cluster
from support.faults import Call, catalog_fails, nth, override_calls, store_fails
from support.node import A, B, Node, image_id

pytestmark = pytest.mark.anyio

DAY = timedelta(hours=24).total_seconds()


def plant(cluster: Cluster, *numbers: int) -> list[str]:
    """Put bytes into a store that no row tells of."""
    keys = [make_key(image_id(number), UUID(int=number)) for number in numbers]
    cluster.near.blobs.update(dict.fromkeys(keys, b"stray"))
    return keys


def limit(node: Node, max_strays: int, max_share: float) -> None:
    """So many strays may go without an operator."""
    limits = StrayLimits(max_strays=max_strays, max_share=max_share)
    node.reconcile.settings = replace(node.reconcile.settings, limits=limits)


@pytest.mark.rule("reconcile.1")
async def test_strays_go_after_a_quarantine(cluster: Cluster) -> None:
    """They are doomed when they are found, and deleted a day later."""
    (stray,) = plant(cluster, 7)
    node = cluster.node()

    report = await node.reconcile.run(apply=True, max_strays=1)
    await node.scrubber.run_due()
    assert ([place.key for place in report.strays], report.doomed) == ([stray], 1)
    assert cluster.keys == {stray}
    await anyio.sleep(DAY - 1)
    await node.scrubber.run_due()
    assert cluster.keys == {stray}
    await anyio.sleep(1)
    await node.scrubber.run_due()

    assert not cluster.keys
    assert not cluster.catalog.blobs


async def test_unfinished_writes_without_a_row_go_too(cluster: Cluster) -> None:
    """A begin that arrived after everything else was over."""
    (stray,) = plant(cluster, 7)
    cluster.near.partial[stray] = cluster.near.blobs.pop(stray)
    node = cluster.node()
    await node.reconcile.run(apply=True, max_strays=1)
    await anyio.sleep(DAY)
    await node.scrubber.run_due()
    assert not cluster.keys


@pytest.mark.rule("reconcile.3")
async def test_without_apply_nothing_is_touched(cluster: Cluster) -> None:
    """It says what it would do: the same strays that it then dooms."""
    plant(cluster, 7, 8)
    node = cluster.node()
    report = await node.reconcile.run(apply=False, max_strays=2)
    assert (len(report.strays), report.braked, report.doomed) == (2, False, 0)
    assert not cluster.catalog.blobs
    applied = await node.reconcile.run(apply=True, max_strays=2)
    assert (applied.strays, applied.doomed) == (report.strays, 2)


async def test_strays_are_told_once_they_are_known_no_more(cluster: Cluster) -> None:
    """A second look finds a row, and leaves its quarantine as it is."""
    (stray,) = plant(cluster, 7)
    node = cluster.node()
    with capture_logs() as logs:
        await node.reconcile.run(apply=True, max_strays=1)
        due_at = cluster.catalog.blobs[stray].due_at
        await anyio.sleep(60)
        report = await node.reconcile.run_due()

    assert not report.strays
    assert cluster.catalog.blobs[stray].due_at == due_at
    assert [entry["event"] for entry in logs].count("blob.stray_found") == 1


@pytest.mark.rule("reconcile.2")
async def test_a_brake_holds_where_strays_are_suspiciously_many(cluster: Cluster) -> None:
    """Perhaps the catalog is older than the store: nothing is doomed until an operator says so."""
    plant(cluster, *range(1, 12))
    node = cluster.node()

    with capture_logs() as logs:
        report = await node.reconcile.run_due()
    told = [entry for entry in logs if entry["event"] == "reconcile.braked"]
    assert (report.braked, report.doomed, len(report.strays)) == (True, 0, 11)
    assert [(one["store"], one["strays"], one["log_level"]) for one in told] == [
        ("near", 11, "error")
    ]
    assert not cluster.catalog.blobs

    assert (await node.reconcile.run(apply=True, max_strays=10)).braked
    assert (await node.reconcile.run(apply=True, max_strays=11)).doomed == 11


@pytest.mark.rule("reconcile.2")
async def test_a_small_share_of_many_is_not_suspicious(cluster: Cluster) -> None:
    """In a large store a few strays more are nothing unusual: within the count and the share."""
    for number in range(100, 108):
        await cluster.active(image_id(number))
    plant(cluster, 1, 2)
    node = cluster.node()

    for max_strays, max_share in ((1, 0.2), (2, 0.1)):
        limit(node, max_strays, max_share)
        assert (await node.reconcile.run_due()).braked
    limit(node, 2, 0.2)
    assert (await node.reconcile.run_due()).doomed == 2


@pytest.mark.rule("reconcile.2")
async def test_all_blobs_of_a_store_are_suspicious(cluster: Cluster) -> None:
    """Whatever the limits allow: a catalog that knows none of them is not theirs."""
    plant(cluster, 1, 2)
    node = cluster.node()
    limit(node, 10, 1.0)
    report = await node.reconcile.run_due()
    assert (report.braked_stores, report.doomed) == (["near"], 0)


async def test_each_store_has_a_brake_of_its_own(cluster: Cluster) -> None:
    """A store that is lost to the catalog does not go because another one is large."""
    for number in range(100, 108):
        await cluster.active(image_id(number))
    plant(cluster, 1)
    cluster.far.blobs[make_key(A, UUID(int=1))] = b"foreign"
    node = cluster.node()
    limit(node, 10, 0.5)

    report = await node.reconcile.run_due()

    assert (report.braked_stores, report.doomed) == (["far"], 1)
    assert {blob.store for blob in cluster.catalog.blobs.values()} == {"near"}


async def test_operators_are_warned_while_strays_are_kept(cluster: Cluster) -> None:
    """In the record of the store, for every instance; also while the store is away."""
    await cluster.catalog.add_place(Place(PlaceKind.STORE, "near", UUID(int=7), "memory"))
    plant(cluster, 1, 2)
    node = cluster.node()
    frozen = cluster.node("frozen", near=override_calls(cluster.near, list_keys=freezes))

    await node.reconcile.run(apply=False)
    assert not warnings_of(await cluster.catalog.list_places())
    await node.reconcile.run_due()
    await frozen.reconcile.run(apply=True)
    (told,) = warnings_of(await cluster.catalog.list_places())
    cluster.near.blobs.clear()
    await node.reconcile.run_due()

    assert told.startswith("store near: 2 of its 2 blobs have no row")
    assert not warnings_of(await cluster.catalog.list_places())


async def test_missing_bytes_are_told_and_nothing_is_done(cluster: Cluster) -> None:
    """Nothing can be done here; the record stays, so that the operator sees the owner."""
    location = (await cluster.active(A)).locations[0]
    del cluster.near.blobs[location.key]
    node = cluster.node()

    with capture_logs() as logs:
        report = await node.reconcile.run_due()
    told = [entry for entry in logs if entry["event"] == "blob.bytes_missing"]

    assert report.missing == [location]
    told_of = [(entry["store"], entry["key"], entry["image_id"]) for entry in told]
    assert told_of == [("near", location.key, A)]
    assert (await cluster.image(A)).status is Status.ACTIVE


async def test_bytes_being_written_are_no_strays(cluster: Cluster) -> None:
    """At every moment, from the first byte to the last."""
    await cluster.queued(A)
    node = cluster.node()
    running = cluster.start(node.upload(A, send(chunks=10, every=5)))

    for _ in range(20):
        report = await node.reconcile.run_due()
        assert not report.strays
        assert not report.missing
        await anyio.sleep(3)

    assert (await running.outcome()).status is Status.ACTIVE
    cluster.audit()


@pytest.mark.rule("reconcile.4")
async def test_a_write_that_begins_between_the_looks_is_no_stray(cluster: Cluster) -> None:
    """The ledger is asked after the store: what is in the store has a row by then."""
    await cluster.queued(A)

    async def list_keys(prefix: str) -> AsyncIterator[str]:
        if prefix == A[:2] + "/":
            await cluster.node("writer").upload(A)
        async for key in cluster.near.list_keys(prefix):
            yield key

    node = cluster.node(near=override_calls(cluster.near, list_keys=list_keys))

    report = await node.reconcile.run_due()

    assert not report.strays
    assert (await cluster.image(A)).status is Status.ACTIVE


def scrub_image(cluster: Cluster) -> Call:
    """What another node does between two calls: delete the image, and its bytes at once."""

    async def scrubbed(*_: object) -> None:
        await cluster.node().delete(A, delayed=False)
        await cluster.node("scrubber").scrubber.run_due()

    return scrubbed


async def test_a_blob_scrubbed_in_between_is_no_stray(cluster: Cluster) -> None:
    """The store is looked at again: bytes that left before their row did are no longer there."""
    await cluster.active(A)
    node = cluster.node(fault=nth(cluster.catalog.list_keys, 0xA1 + 1, before=scrub_image(cluster)))
    assert not (await node.reconcile.run_due()).strays
    assert not cluster.catalog.blobs


@pytest.mark.rule("reconcile.5")
async def test_a_blob_scrubbed_in_between_is_not_missing(cluster: Cluster) -> None:
    """The ledger is asked again before bytes are reported missing."""
    await cluster.active(A)
    node = cluster.node(fault=nth(cluster.catalog.list_kept, 0xA1 + 1, after=scrub_image(cluster)))
    assert not (await node.reconcile.run_due()).missing


async def test_doomed_bytes_are_neither_stray_nor_missing(cluster: Cluster) -> None:
    """They have a row, and they may go at any moment."""
    await cluster.active(A)
    await cluster.active(B)
    await cluster.node().delete(A, delayed=False)
    key = (await cluster.image(B)).locations[0].key
    await cluster.node().delete(B, delayed=False)
    del cluster.near.blobs[key]

    report = await cluster.node().reconcile.run_due()

    assert not report.strays
    assert not report.missing


@pytest.mark.rule("reconcile.4", "reconcile.6")
async def test_bytes_of_a_known_key_in_another_store_are_left_alone(cluster: Cluster) -> None:
    """A copied store: blobs of another store in the ledger are not deleted."""
    key = (await cluster.active(A)).locations[0].key
    cluster.far.blobs[key] = cluster.near.blobs[key]
    assert not (await cluster.node().reconcile.run_due()).strays


async def test_a_store_or_catalog_that_is_away_dooms_nothing(cluster: Cluster) -> None:
    """Half a comparison is none: the caller is told, and nothing has changed."""
    plant(cluster, 0xFE)

    async def away(_: str) -> AsyncIterator[str]:
        await store_fails()
        yield ""

    with pytest.raises(CatalogError):
        await cluster.node(
            catalog=override_calls(cluster.catalog, list_keys=catalog_fails)
        ).reconcile.run_due()
    with pytest.raises(StoreError):
        await cluster.node(near=override_calls(cluster.near, list_keys=away)).reconcile.run_due()

    assert not cluster.catalog.blobs


async def breaks_in_the_middle(prefix: str) -> AsyncIterator[str]:
    """A listing."""
    if prefix == "80/":
        await store_fails()
    if prefix == "00/":
        yield make_key(image_id(0), UUID(int=1))


async def freezes(_: str) -> AsyncIterator[str]:
    """A listing that never ends."""
    await anyio.sleep_forever()
    yield ""


@pytest.mark.parametrize(
    ("list_keys", "why"),
    [
        (breaks_in_the_middle, "is down"),
        (freezes, "did not list its keys within 0:10:00"),
    ],
)
async def test_a_store_that_fails_keeps_no_other_one_waiting(
    cluster: Cluster, list_keys: Callable[[str], AsyncIterator[str]], why: str
) -> None:
    """The others are compared, and their strays doomed; the caller of the round is told."""
    stray = make_key(A, UUID(int=1))
    cluster.far.blobs[stray] = b"stray"
    node = cluster.node(near=override_calls(cluster.near, list_keys=list_keys))

    report = await node.reconcile.run(apply=True, max_strays=1)

    assert report.failed == {"near": why}
    assert {blob.key: blob.store for blob in cluster.catalog.blobs.values()} == {stray: "far"}
    with pytest.raises(StoreError, match="near"):
        await node.reconcile.run_due()
