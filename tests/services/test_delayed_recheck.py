"""Stores that settle late: what was on its way when its write was ended is swept later."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from imaged.core.lifecycle import Status
from support.cluster import Cluster
from support.faults import hangs, override_calls
from support.node import A

pytestmark = pytest.mark.anyio

AN_HOUR = timedelta(hours=1)
NOW = timedelta(0)


async def begun_and_deleted(cluster: Cluster) -> str:
    """An image that was deleted while its data was being written; the key of that write."""
    cluster.near.settles_after = AN_HOUR
    await cluster.queued(A)
    slow = override_calls(cluster.near, put=hangs)
    writing = cluster.start(cluster.node("writer", near=slow).upload(A))
    writing.ignore()
    await anyio.sleep(5)
    (location,) = (await cluster.catalog.get_image(A)).locations
    await cluster.node().delete(A, delayed=False)
    return location.key


async def test_a_write_that_lands_after_its_delete_is_swept(cluster: Cluster) -> None:
    """The row stays for an hour, and the bytes that came meanwhile go with it."""
    key = await begun_and_deleted(cluster)
    node = cluster.node()
    await anyio.sleep(100)
    await node.scrubber.run_due()
    assert cluster.catalog.blobs[key].is_swept

    cluster.near.blobs[key] = b"late"
    await anyio.sleep(AN_HOUR.total_seconds())
    await node.scrubber.run_due()

    assert not cluster.keys
    assert not cluster.catalog.blobs


async def test_the_second_look_comes_when_the_store_has_settled(cluster: Cluster) -> None:
    """Neither sooner, nor again and again."""
    key = await begun_and_deleted(cluster)
    node = cluster.node()
    await anyio.sleep(100)
    for _ in range(5):
        await node.scrubber.run_due()
        await anyio.sleep(AN_HOUR.total_seconds() / 10)

    assert cluster.catalog.blobs.keys() == {key}
    await anyio.sleep(AN_HOUR.total_seconds() / 2)
    report = await node.scrubber.run_due()
    assert report.deleted == 1
    assert not cluster.catalog.blobs


async def test_complete_blobs_are_rechecked_at_once(cluster: Cluster) -> None:
    """Nothing of it can be on its way, and its image does not wait for an hour."""
    cluster.near.settles_after = AN_HOUR
    await cluster.active(A)
    node = cluster.node(delay=NOW)
    await node.delete(A)
    await node.scrubber.run_due()
    assert not cluster.catalog.blobs
    assert (await cluster.catalog.get_image(A)).status is Status.DELETED


async def test_a_store_that_settles_at_once_is_looked_at_once(cluster: Cluster) -> None:
    """A filesystem needs no second look."""
    key = await begun_and_deleted(cluster)
    cluster.near.settles_after = NOW
    await anyio.sleep(100)
    await cluster.node().scrubber.run_due()
    assert key not in cluster.catalog.blobs
