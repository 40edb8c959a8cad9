"""What the scrubber does about bytes that will not go, and a catalog that fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from imaged.core.errors import CatalogError, StoreError
from imaged.ports.store import Stores
from support.cluster import Cluster
from support.faults import catalog_fails, hangs, nth, override_calls, store_fails
from support.node import A, Node, image_id

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


async def test_bytes_that_will_not_go_do_not_hold_up_others(cluster: Cluster) -> None:
    """More of them than fit in any batch, all of them older: the others go in the same round."""
    keys = await cluster.doomed(*range(1, 101))
    bad = set(keys[:80])
    tried: list[str] = []

    async def stubborn(key: str, *_: object) -> None:
        tried.append(key)
        if key in bad:
            raise StoreError("near", "may not be written to")
        await cluster.near.delete(key)

    node = cluster.node(near=override_calls(cluster.near, delete=stubborn))
    report = await node.scrubber.run_due()

    assert (report.deleted, report.failed) == (20, 80)
    assert cluster.keys == bad
    assert sorted(tried) == sorted(keys)

    await anyio.sleep(3600)
    tried.clear()
    await node.scrubber.run_due()
    assert sorted(tried) == sorted(bad)


async def test_a_store_that_hangs_does_not_hold_up_others(cluster: Cluster) -> None:
    """A frozen disk ends no call: it is left alone for the rest of the round."""
    keys = await cluster.doomed(*range(1, 101))
    await cluster.queued(A)
    node = cluster.node(near=override_calls(cluster.near, delete=hangs), delay=NOW)
    await node.upload(A, store="far")
    await node.delete(A)

    with anyio.fail_after(5 * 60):
        report = await node.scrubber.run_due()

    assert (report.deleted, report.failed) == (1, 4)
    assert set(cluster.catalog.blobs) == set(keys)
    errors = {blob.last_error for blob in cluster.catalog.blobs.values()}
    assert errors == {None, "The store 'near' did not delete it within 60 s."}


@pytest.mark.rule("scrubbing.5", "scrubbing.6")
async def test_a_failure_is_kept_with_the_bytes_and_backs_off(cluster: Cluster) -> None:
    """How often, why, and when again: after 10 s, 20 s, 40 s … and an hour at most."""
    (key,) = await cluster.doomed(1)
    node = cluster.node(near=override_calls(cluster.near, delete=store_fails))
    waits = []
    for failures in range(1, 15):
        await node.scrubber.run_due()
        blob = cluster.catalog.blobs[key]
        assert blob.failures == failures
        assert blob.last_error == "The store 'near' is down."
        assert blob.due_at is not None
        waits.append((blob.due_at - cluster.now()).total_seconds())
        assert not await node.scrubber.run_due()
        await anyio.sleep(waits[-1])

    assert waits[:5] == [10, 20, 40, 80, 160]
    assert waits[-3:] == [3600, 3600, 3600]


@pytest.mark.rule("scrubbing.5", "scrubbing.7")
async def test_an_error_is_told_once_per_change(cluster: Cluster) -> None:
    """The same error again is no news; another one is."""
    await cluster.doomed(1)
    reasons = ["is down"] * 3 + ["is full of sand"] * 2
    left = iter(reasons)

    async def delete(*_: object) -> None:
        raise StoreError("near", next(left))

    node = cluster.node(near=override_calls(cluster.near, delete=delete))
    with capture_logs([merge_contextvars]) as logs:
        for _ in reasons:
            await node.scrubber.run_due()
            await anyio.sleep(3600)
    told = [entry for entry in logs if entry["event"] == "blob.delete_failed"]

    assert [entry["error"] for entry in told] == [
        "The store 'near' is down.",
        "The store 'near' is full of sand.",
    ]
    assert {entry["image_id"] for entry in told} == {image_id(1)}


async def test_a_store_that_is_out_costs_one_try_a_round(cluster: Cluster) -> None:
    """Its outage is logged where it is met, so nothing is said of each blob; and all of them are
    deleted soon after it is back.
    """
    keys = await cluster.doomed(*range(1, 41))
    tries = 0

    async def fail(*_: object) -> None:
        nonlocal tries
        tries += 1
        await store_fails()

    node = cluster.node(near=override_calls(cluster.near, delete=fail, check=store_fails))
    node.scrubber.settings = replace(node.scrubber.settings, concurrency=1)
    with capture_logs() as logs:
        report = await node.scrubber.run_due()

    assert (tries, report.failed, report.deleted) == (1, 1, 0)
    assert [entry for entry in logs if entry["log_level"] != "debug"] == []
    assert cluster.keys == set(keys)
    await anyio.sleep(61)
    assert (await cluster.node("other").scrubber.run_due()).deleted == len(keys)


@pytest.mark.rule("scrubbing.5", "scrubbing.8")
async def test_bytes_of_a_store_that_is_not_configured_are_put_off(cluster: Cluster) -> None:
    """They wait until it is configured again; everything else goes on."""
    await cluster.queued(A)
    await cluster.node().upload(A, store="far")
    await cluster.node().delete(A, delayed=False)
    await cluster.doomed(1)
    one_store = Node("one store", cluster.catalog, Stores("near", {"near": cluster.near}))

    report = await one_store.scrubber.run_due()
    (blob,) = cluster.catalog.blobs.values()

    assert (report.deleted, report.failed) == (1, 1)
    assert (blob.store, blob.failures) == ("far", 1)
    await anyio.sleep(60)
    await cluster.node("complete").scrubber.run_due()
    assert not cluster.keys


@pytest.mark.rule("scrubbing.4", "scrubbing.9")
async def test_a_catalog_that_fails_in_the_middle_costs_nothing(cluster: Cluster) -> None:
    """The bytes are gone but their row is not: it is due again, and a delete twice never hurts."""
    await cluster.doomed(*range(1, 11))
    node = cluster.node(fault=nth(cluster.catalog.remove_blob, 3, before=catalog_fails))

    with capture_logs() as logs:
        report = await node.scrubber.run_due()

    assert report.deleted == 9
    assert [entry["event"] for entry in logs].count("blob.row_kept") == 1
    assert len(cluster.catalog.blobs) == 1
    await anyio.sleep(61)
    await node.scrubber.run_due()
    assert not cluster.catalog.blobs


async def test_a_catalog_that_is_away_ends_the_round(cluster: Cluster) -> None:
    """The caller of the round gets the error; the next round does it all."""
    await cluster.active(A)
    node = cluster.node(delay=NOW)
    await node.delete(A)
    away = override_calls(cluster.catalog, modify_image=catalog_fails, check=catalog_fails)
    broken = cluster.node(catalog=away, delay=NOW)

    with pytest.raises(CatalogError):
        await broken.scrubber.run_due()
    await node.scrubber.run_due()

    assert not cluster.keys
