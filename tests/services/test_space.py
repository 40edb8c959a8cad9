"""Uploads of unknown length wait for the space of their project, oldest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from imaged.core.deletion import delete
from imaged.core.errors import ClientVanished, ImageDeleted, QuotaExceeded
from imaged.core.image import Change, Image
from imaged.core.lifecycle import Status
from imaged.services.ingest_pipeline import IngestSettings
from support.bodies import send, send_broken
from support.cluster import BackgroundWork, Cluster
from support.faults import override_calls
from support.node import A, B, Node, image_id
from support.quotas import limit_total, limits, used_bytes
from support.settings import configured

pytestmark = pytest.mark.anyio

SIZE = 28  # of a body of three pieces, and its end
OLD, YOUNG = A, B
SLOW = 1  # seconds from piece to piece


def waiting_for(seconds: float) -> IngestSettings:
    """Settings of a node whose uploads wait so long for space."""
    return configured(IngestSettings, wait_for_space=timedelta(seconds=seconds))


def start(cluster: Cluster, node: Node, image: str, **body: Any) -> BackgroundWork:
    """Begin an upload of ``SIZE`` bytes."""
    return cluster.start(node.upload(image, send(**{"chunks": 3, "every": SLOW, **body})))


@asynccontextmanager
async def both_begun(
    cluster: Cluster, *nodes: Node, limit: int, **of_young: Any
) -> AsyncIterator[Sequence[BackgroundWork]]:
    """Two uploads that began one after the other, of which only one has room."""
    await limit_total(cluster.catalog, "p1", limit)
    began = []
    for image, node, body in ((OLD, nodes[0], {}), (YOUNG, nodes[-1], of_young)):
        await cluster.queued(image)
        began.append(start(cluster, node, image, **body))
        await anyio.sleep(0.1)
    yield began
    cluster.audit()


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.rule("quotas.9")
async def test_the_older_waits_for_what_the_younger_gives_up(cluster: Cluster, nodes: int) -> None:
    """At the same node, and at another one."""
    both = [cluster.node(str(number), slice_bytes=0) for number in range(nodes)]
    async with both_begun(cluster, *both, limit=SIZE) as (old, young):
        assert isinstance(await young.outcome(), QuotaExceeded)
        assert (await old.outcome()).status is Status.ACTIVE
    assert await used_bytes(cluster.catalog) == SIZE
    assert (await cluster.image(YOUNG)).status is Status.QUEUED
    assert "limit 'total'" in (await cluster.failure_of(YOUNG)).reason


async def test_it_goes_on_in_the_moment_in_which_the_younger_of_its_process_ends(
    cluster: Cluster,
) -> None:
    """It does not look only from time to time."""
    node = cluster.node(slice_bytes=0)
    await limit_total(cluster.catalog, "p1", SIZE)
    await cluster.queued(OLD)
    await cluster.queued(YOUNG)
    old = start(cluster, node, OLD, every=0.3)
    await anyio.lowlevel.checkpoint()
    young = cluster.start(node.upload(YOUNG, send_broken(ClientVanished(), 0.9)))
    young.ignore()
    await young.outcome()
    now = anyio.current_time()
    await old.outcome()
    assert anyio.current_time() - now == pytest.approx(0.3)


@pytest.mark.rule("quotas.10")
async def test_what_another_one_reserved_ahead_is_waited_for(cluster: Cluster) -> None:
    """The younger fits beside what the older needs."""
    node = cluster.node(slice_bytes=SIZE)
    async with both_begun(cluster, node, limit=2 * SIZE) as (old, young):
        assert await used_bytes(cluster.catalog) == 9 + SIZE + 9
        assert (await old.outcome()).status is Status.ACTIVE
        assert (await young.outcome()).status is Status.ACTIVE
    assert await used_bytes(cluster.catalog) == 2 * SIZE


async def test_what_was_used_up_is_waited_for_no_more(cluster: Cluster) -> None:
    """The older, which waits itself, says that it has nothing ahead."""
    node = cluster.node(slice_bytes=10)
    async with both_begun(cluster, node, limit=SIZE) as (old, young):
        assert isinstance(await young.outcome(), QuotaExceeded)
        assert (await old.outcome()).status is Status.ACTIVE


@pytest.mark.rule("quotas.12")
async def test_waiting_ends(cluster: Cluster) -> None:
    """A younger one whose client is slow holds its space longer than others wait."""
    node = cluster.node(slice_bytes=0, stages=waiting_for(7))
    async with both_begun(cluster, node, limit=20, every=100) as (old, young):
        began = anyio.current_time()
        assert isinstance(await old.outcome(), QuotaExceeded)
        assert 7 < anyio.current_time() - began < 9
        assert (await cluster.image(OLD)).status is Status.QUEUED
        young.ignore()
        await cluster.change(YOUNG, delete(delayed=False))
        await young.outcome()


async def test_waiting_may_be_turned_off(cluster: Cluster) -> None:
    """The older is refused, too."""
    node = cluster.node(slice_bytes=0, stages=waiting_for(0))
    async with both_begun(cluster, node, limit=20) as (old, young):
        assert isinstance(await old.outcome(), QuotaExceeded)
        assert isinstance(await young.outcome(), QuotaExceeded)


async def test_deletion_ends_waiting(cluster: Cluster) -> None:
    """At its next try at the latest."""
    node = cluster.node(slice_bytes=0)
    async with both_begun(cluster, node, limit=20, every=100) as (old, young):
        await anyio.sleep(3)
        await cluster.change(OLD, delete(delayed=False))
        now = anyio.current_time()
        assert isinstance(await old.outcome(), ImageDeleted)
        assert anyio.current_time() - now <= 0.5
        young.ignore()
        await cluster.change(YOUNG, delete(delayed=False))
        await young.outcome()


async def test_a_stop_ends_waiting(cluster: Cluster) -> None:
    """The space of what was cancelled is free at once."""
    node = cluster.node(slice_bytes=0)
    await limit_total(cluster.catalog, "p1", 20)
    await cluster.queued(OLD)
    await cluster.queued(YOUNG)
    async with anyio.create_task_group() as stopped:
        stopped.start_soon(node.upload, OLD, send(3, SLOW))
        await anyio.sleep(0.1)
        young = start(cluster, cluster.node("other", slice_bytes=0), YOUNG, chunks=1, every=20)
        await anyio.sleep(5)
        stopped.cancel_scope.cancel()
    assert (await cluster.image(OLD)).status is Status.QUEUED
    assert await used_bytes(cluster.catalog) == 9
    assert (await young.outcome()).status is Status.ACTIVE


async def test_a_lease_is_renewed_while_it_waits(cluster: Cluster) -> None:
    """An upload may wait longer than its lease lasts."""
    node = cluster.node(slice_bytes=0, stages=waiting_for(1000))
    async with both_begun(cluster, node, limit=SIZE + 8, chunks=1, every=300) as (old, young):
        assert isinstance(await young.outcome(), QuotaExceeded)
        assert (await old.outcome()).status is Status.ACTIVE
    assert anyio.current_time() > 300


async def test_few_of_those_that_wait_look_often(cluster: Cluster) -> None:
    """Two of a process; so the catalog is not asked by all of them."""
    calls = 0

    async def counted(image: str, change: Change) -> Image:
        nonlocal calls
        calls += 1
        return await cluster.catalog.modify_image(image, change)

    node = cluster.node(
        slice_bytes=0, catalog=override_calls(cluster.catalog, modify_image=counted)
    )
    await limit_total(cluster.catalog, "p1", 21 * 9)
    ids = [image_id(number) for number in range(1, 22)]
    works = []
    for number, image in enumerate(ids):
        await cluster.queued(image)
        works.append(start(cluster, node, image, every=100 if number == 20 else SLOW))
        await anyio.lowlevel.checkpoint()
    await anyio.sleep(3)
    calls = 0
    await anyio.sleep(10)
    assert 0 < calls <= 2 * 20 + 20 * 2
    for image, work in zip(ids, works, strict=True):
        work.ignore()
        await cluster.change(image, delete(delayed=False))


@pytest.mark.parametrize("slice_bytes", [0, 5, 100])
@pytest.mark.parametrize("is_staged", [False, True])
@pytest.mark.rule("quotas.9", "quotas.10", "quotas.11")
async def test_of_uploads_in_step_as_many_succeed_as_fit(
    cluster: Cluster, slice_bytes: int, *, is_staged: bool
) -> None:
    """At two nodes, whatever is reserved ahead; and usage is exact afterwards."""
    nodes = [cluster.node(name, slice_bytes=slice_bytes) for name in "ab"]
    resource = "staged" if is_staged else "total"
    await cluster.catalog.set_limits("p1", limits(**{resource: 10 * SIZE + 5}))
    works = []
    for number in range(64):
        image, node = image_id(number + 1), nodes[number % 2]
        await cluster.queued(image)
        put = node.stage if is_staged else node.upload
        works.append(cluster.start(put(image, send(3, 0.01))))

    outcomes = [await work.outcome() for work in works]

    refused = [outcome for outcome in outcomes if isinstance(outcome, QuotaExceeded)]
    assert len(refused) == 64 - 10
    assert await used_bytes(cluster.catalog) == 10 * SIZE
    cluster.audit()
