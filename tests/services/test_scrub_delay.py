"""The delay of deletes: the one configured now, and never for what is held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from imaged.core.deletion import deactivate
from imaged.core.lifecycle import Status
from support.bodies import BODY, send
from support.cluster import Cluster
from support.node import A, B, image_id

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


@pytest.mark.rule("scrubbing.1")
async def test_the_delay_is_the_one_configured_now(cluster: Cluster) -> None:
    """Lowered, it frees space at the next round; raised, it saves what still waits."""
    await cluster.active(A)
    node = cluster.node(delay=timedelta(seconds=100))
    await node.delete(A)
    await anyio.sleep(60)

    assert not await node.scrubber.run_due()
    node.scrubber.settings = replace(node.scrubber.settings, delay=timedelta(seconds=500))
    await anyio.sleep(60)
    assert not await node.scrubber.run_due()
    assert cluster.keys

    node.scrubber.settings = replace(node.scrubber.settings, delay=timedelta(seconds=110))
    report = await node.scrubber.run_due()

    assert (report.expired, report.deleted, report.deleted_bytes) == (1, 1, len(BODY))
    assert not cluster.keys


async def test_the_delay_counts_from_the_last_delete(cluster: Cluster) -> None:
    """A restored image that is deleted again has its whole delay before it."""
    await cluster.active(A)
    node = cluster.node(delay=timedelta(seconds=100))
    await node.delete(A)
    await anyio.sleep(90)
    await node.restore(A)
    await node.delete(A)
    await anyio.sleep(90)

    await node.scrubber.run_due()

    assert (await node.restore(A)).status is Status.ACTIVE


async def test_held_blobs_are_never_deleted(cluster: Cluster) -> None:
    """Whatever its status: active, deactivated, being written, staged, still to be restored."""
    await cluster.active(A)
    await cluster.change((await cluster.active(B)).id, deactivate)
    saving, staged, waiting = (image_id(n) for n in (1, 2, 3))
    for number in (saving, staged):
        await cluster.queued(number)
    await cluster.active(waiting)
    node = cluster.node()
    cluster.start(node.upload(saving, send(chunks=9, every=5)))
    await node.stage(staged)
    await node.delete(waiting)
    before = set(cluster.catalog.blobs)
    await anyio.sleep(1)

    for _ in range(5):
        assert not await node.scrubber.run_due()
        await anyio.sleep(10)

    assert before <= cluster.keys
    cluster.audit()
