"""What the scrubber does about bytes that will not go, and a catalog that fails."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.errors import (
    CatalogError,
    StoreError,
)
from imaged.core.lifecycle import Status
from imaged.ports.store import Stores
from support.faults import catalog_fails, detour, hangs, nth, store_fails
from support.node import A, B, Node
from support.site import Site

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


async def test_bytes_that_will_not_go_do_not_hold_up_others(site: Site) -> None:
    """More of them than fit in any batch, all of them older: the others go in the same round."""
    keys = await site.doomed(*range(1, 101))
    bad = set(keys[:80])
    tried: list[str] = []

    async def stubborn(key: str, *_: object) -> None:
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


async def test_a_store_that_hangs_does_not_hold_up_others(site: Site) -> None:
    """A frozen disk ends no call: it is left alone for the rest of the round."""
    keys = await site.doomed(*range(1, 101))
    await site.queued(A)
    node = site.node(near=detour(site.near, delete=hangs), delay=NOW)
    await node.upload(A, store="far")
    await node.delete(A)

    with anyio.fail_after(5 * 60):
        report = await node.scrubber.run_due()

    assert (report.deleted, report.failed) == (1, 4)
    assert set(site.catalog.blobs) == set(keys)
    errors = {blob.last_error for blob in site.catalog.blobs.values()}
    assert errors == {None, "The store 'near' did not delete it within 60 s."}


async def test_a_failure_is_kept_with_the_bytes_and_backs_off(site: Site) -> None:
    """How often, why, and when again: after 10 s, 20 s, 40 s … and an hour at most."""
    (key,) = await site.doomed(1)
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
    await site.doomed(1)
    reasons = ["is down"] * 3 + ["is full of sand"] * 2
    left = iter(reasons)

    async def delete(*_: object) -> None:
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
    await site.doomed(1)
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
    await site.doomed(*range(1, 11))
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
    away = detour(site.catalog, modify_image=catalog_fails, check=catalog_fails)
    broken = site.node(catalog=away, delay=NOW)

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
