"""The reclaimer: work of dead holders is taken back, and abandoned staged data is deleted."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.claim import InstanceId
from imaged.core.errors import CatalogError, ClaimLost
from imaged.core.lifecycle import Status
from imaged.services.periodic import run_periodically
from support.bodies import send
from support.cluster import Cluster
from support.faults import catalog_fails, nth, override_calls
from support.node import LEASE, RENEW_EVERY, A

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()


@pytest.mark.rule("claims.3", "claims.20")
async def test_work_of_a_dead_holder_is_taken_back_in_time(cluster: Cluster) -> None:
    """Within its lease and two rounds; the image is queued and says why, and the retry works."""
    await cluster.killed(A)
    node = cluster.node()
    cluster.start(run_periodically("reclaim", node.reclaimer.run_due, lambda: RENEW_EVERY))

    await anyio.sleep((LEASE + 2 * RENEW_EVERY).total_seconds())
    failure = await cluster.failure_of(A)

    assert failure.reason == "The server that was working on it went silent."
    assert failure.at is not None
    assert (await node.upload(A, replaces=True)).status is Status.ACTIVE
    await cluster.settle()
    assert len(cluster.keys) == 1


async def test_work_of_a_process_that_died_is_taken_back_at_once(cluster: Cluster) -> None:
    """Its parent waits for no lease; the work of other processes goes on, and so may the parent."""
    await cluster.killed(A)
    reclaimer = cluster.node().reclaimer

    assert await reclaimer.take_back_of(InstanceId("living")) == 0
    assert (await cluster.image(A)).status is Status.SAVING
    assert await reclaimer.take_back_of(InstanceId("dead")) == 1
    assert await reclaimer.take_back_of(InstanceId("dead")) == 0

    failure = await cluster.failure_of(A)
    assert failure.reason == "The process of the server that was working on it ended unexpectedly."
    assert (await cluster.image(A)).status is Status.QUEUED
    await cluster.settle()
    assert not cluster.keys


async def test_work_is_taken_back_once(cluster: Cluster) -> None:
    """Two look at the same moment: one takes it back and says so, the other finds it done."""
    await cluster.killed(A)
    await anyio.sleep(SILENCE + 1)
    nodes = [cluster.node(name) for name in ("a", "b")]

    with capture_logs() as logs:
        running = [cluster.start(node.reclaimer.run_due()) for node in nodes]
        counts = [await each.outcome() for each in running]

    assert sorted(counts) == [0, 1]
    assert [entry["event"] for entry in logs].count("claim.taken_back") == 1


async def test_a_catalog_that_is_away_ends_the_round(cluster: Cluster) -> None:
    """The caller of the round gets the error, and the next round does it."""
    await cluster.killed(A)
    await anyio.sleep(SILENCE + 1)
    away = override_calls(cluster.catalog, modify_image=catalog_fails, check=catalog_fails)
    with pytest.raises(CatalogError):
        await cluster.node(catalog=away).reclaimer.run_due()
    assert await cluster.node().reclaimer.run_due() == 1


@pytest.mark.parametrize(
    ("kill", "status"), [(True, Status.KILLED), (False, Status.QUEUED)], ids=["kill", "requeue"]
)
@pytest.mark.rule("claims.18")
async def test_a_dead_holders_upload_is_killed_where_so_configured(
    cluster: Cluster, status: Status, *, kill: bool
) -> None:
    """A crash is a failure like others."""
    await cluster.killed(A)
    await anyio.sleep(SILENCE + 1)
    await cluster.node(kill_uploads=kill).reclaimer.run_due()
    await cluster.settle()
    assert (await cluster.image(A)).status is status
    assert not cluster.keys


async def test_a_zombie_cannot_finish(cluster: Cluster) -> None:
    """Frozen past its lease, it wakes when its work was taken back: its bytes are refused."""
    await cluster.queued(A)

    async def frozen(*_: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2 * SILENCE)

    zombie = cluster.node("zombie", fault=nth(cluster.near.put, 1, after=frozen), beats=False)
    running = cluster.start(zombie.upload(A))
    await anyio.sleep(SILENCE + 1)
    await cluster.node().reclaimer.run_due()
    image = await cluster.node("successor").upload(A, send(chunks=2), replaces=True)

    assert isinstance(await running.outcome(), ClaimLost)
    assert await cluster.image(A) == image
    await cluster.settle()
    assert cluster.keys == {image.locations[0].key}


# staged data


@pytest.mark.rule("tasks.23")
async def test_staged_data_is_deleted_unless_imported(cluster: Cluster) -> None:
    """After its time the image is queued again, and the bytes are freed."""
    await cluster.queued(A)
    node = cluster.node()
    node.reclaimer.staged_time_to_live = timedelta(hours=1)
    await node.stage(A)

    await anyio.sleep(3599)
    assert await node.reclaimer.run_due() == 0
    await anyio.sleep(1)
    assert await node.reclaimer.run_due() == 1

    assert (await cluster.image(A)).status is Status.QUEUED
    await cluster.settle()
    assert not cluster.keys


async def test_staged_data_may_take_long_to_come(cluster: Cluster) -> None:
    """Its time begins when it is whole, not while it is being sent."""
    await cluster.queued(A)
    node = cluster.node()
    node.reclaimer.staged_time_to_live = timedelta(seconds=60)
    running = cluster.start(node.stage(A, send(chunks=20, every=10)))

    for _ in range(22):
        assert await node.reclaimer.run_due() == 0
        await anyio.sleep(10)

    assert (await running.outcome()).status is Status.UPLOADING


@pytest.mark.rule("tasks.23")
async def test_staged_data_whose_import_began_meanwhile_stays(cluster: Cluster) -> None:
    """Asked for at the last moment: the import wins."""
    await cluster.queued(A)
    node = cluster.node()
    await node.stage(A)
    await anyio.sleep(100)

    async def asked(*_: object) -> None:
        await node.ask_import(A)

    other = cluster.node("other", fault=nth(cluster.catalog.modify_image, 1, before=asked))
    other.reclaimer.staged_time_to_live = timedelta(seconds=60)

    assert await other.reclaimer.run_due() == 0
    await node.run_tasks()
    assert (await cluster.image(A)).status is Status.ACTIVE


@pytest.mark.rule("tasks.24")
async def test_data_staged_anew_meanwhile_stays(cluster: Cluster) -> None:
    """Another process let the old data go, and the client was quick: this is not what was seen."""
    await cluster.queued(A)
    node = cluster.node()
    node.reclaimer.staged_time_to_live = timedelta(seconds=60)
    await node.stage(A)
    await anyio.sleep(100)

    async def staged_anew(*_: object) -> None:
        await node.reclaimer.run_due()
        await node.stage(A)

    slow = cluster.node("slow", fault=nth(cluster.catalog.modify_image, 1, before=staged_anew))
    slow.reclaimer.staged_time_to_live = timedelta(seconds=60)

    assert await slow.reclaimer.run_due() == 0
    assert (await cluster.image(A)).status is Status.UPLOADING
