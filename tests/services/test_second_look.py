"""Stores that settle late: what was on its way when its write was ended is swept later."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from imaged.core.lifecycle import Status
from support.faults import detour, hangs
from support.node import A
from support.site import Site

pytestmark = pytest.mark.anyio

AN_HOUR = timedelta(hours=1)
NOW = timedelta(0)


async def begun_and_deleted(site: Site) -> str:
    """An image that was deleted while its data was being written; the key of that write."""
    site.near.settles_after = AN_HOUR
    await site.queued(A)
    slow = detour(site.near, put=hangs)
    writing = site.start(site.node("writer", near=slow).upload(A))
    writing.ignore()
    await anyio.sleep(5)
    (location,) = (await site.catalog.get_image(A)).locations
    await site.node().delete(A, delayed=False)
    return location.key


async def test_a_write_that_lands_after_its_delete_is_swept(site: Site) -> None:
    """The row stays for an hour, and the bytes that came meanwhile go with it."""
    key = await begun_and_deleted(site)
    node = site.node()
    await anyio.sleep(100)
    await node.scrubber.run_due()
    assert site.catalog.blobs[key].is_swept

    site.near.blobs[key] = b"late"
    await anyio.sleep(AN_HOUR.total_seconds())
    await node.scrubber.run_due()

    assert not site.keys
    assert not site.catalog.blobs


async def test_the_second_look_comes_when_the_store_has_settled(site: Site) -> None:
    """Neither sooner, nor again and again."""
    key = await begun_and_deleted(site)
    node = site.node()
    await anyio.sleep(100)
    for _ in range(5):
        await node.scrubber.run_due()
        await anyio.sleep(AN_HOUR.total_seconds() / 10)

    assert site.catalog.blobs.keys() == {key}
    await anyio.sleep(AN_HOUR.total_seconds() / 2)
    report = await node.scrubber.run_due()
    assert report.deleted == 1
    assert not site.catalog.blobs


async def test_what_was_complete_is_looked_at_once(site: Site) -> None:
    """Nothing of it can be on its way, and its image does not wait for an hour."""
    site.near.settles_after = AN_HOUR
    await site.active(A)
    node = site.node(delay=NOW)
    await node.delete(A)
    await node.scrubber.run_due()

    assert not site.catalog.blobs
    assert (await site.catalog.get_image(A)).status is Status.DELETED


async def test_a_store_that_settles_at_once_is_looked_at_once(site: Site) -> None:
    """A filesystem needs no second look."""
    key = await begun_and_deleted(site)
    site.near.settles_after = NOW
    await anyio.sleep(100)
    await site.node().scrubber.run_due()

    assert key not in site.catalog.blobs
