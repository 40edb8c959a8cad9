"""Workers of imports: one at a time, and a task outlives a few of them."""

from __future__ import annotations

import anyio
import pytest

from imaged.core.errors import ClaimLost, ImagedError
from imaged.core.lifecycle import Status
from imaged.core.task import Task, TaskStatus
from support.callers import ADMIN
from support.cluster import Cluster
from support.faults import catalog_fails, from_nth, hangs, nth, override_calls, pause
from support.node import LEASE, A, Node

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()


@pytest.mark.rule("tasks.2")
async def test_a_task_is_picked_up_once(cluster: Cluster) -> None:
    """Two workers see it waiting: one gets it, the other leaves it alone."""
    await cluster.importing(A)
    workers = [cluster.start(cluster.node(name).run_tasks()) for name in ("a", "b", "c")]
    counts = [await worker.outcome() for worker in workers]
    image = await cluster.image(A)

    assert 1 in counts
    assert image.status is Status.ACTIVE
    assert (await cluster.task_of(A)).attempts == 1
    await cluster.settle()
    assert len(cluster.keys) == 1


@pytest.mark.rule("tasks.2")
async def test_a_task_that_is_worked_on_is_not_picked_up_again(cluster: Cluster) -> None:
    """Not even by a worker that read, long ago, that it was waiting."""
    await cluster.importing(A)
    waiting = await cluster.task_of(A)
    slow = cluster.node(
        "slow", near=override_calls(cluster.near, put=nth(cluster.near.put, 1, before=pause(40)))
    )
    running = cluster.start(slow.run_tasks())
    await anyio.sleep(1)

    late = that_read_long_ago(cluster, waiting)
    assert await late.run_tasks() == 0  # it is still processing

    assert await running.outcome() == 1
    task = await cluster.task_of(A)
    assert task.attempts == 1


@pytest.mark.rule("tasks.8")
async def test_a_task_is_picked_up_by_its_id(cluster: Cluster) -> None:
    """Not another one that writes the same image by now."""
    await cluster.importing(A)
    first = await cluster.task_of(A)
    node = cluster.node()
    await node.task_service.cancel(ADMIN, first.id)
    await anyio.sleep(1)
    await node.ask_import(A)

    late = that_read_long_ago(cluster, first)
    assert await late.run_tasks() == 0
    second = await cluster.task_of(A)
    assert (second.status, second.attempts) == (TaskStatus.PENDING, 0)


@pytest.mark.rule("claims.3", "tasks.4")
async def test_staged_bytes_survive_a_lost_attempt(cluster: Cluster) -> None:
    """The next worker finds all that it needs, and writes under another key."""
    before = await cluster.importing(A)
    lost_key = await die_in_attempt(cluster)
    await cluster.settle(150)
    between = await cluster.image(A)

    assert between.status is Status.IMPORTING
    assert between.staged == before.staged
    task = await cluster.task_of(A)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 1)

    await cluster.node().run_tasks()
    image = await cluster.image(A)
    task = await cluster.task_of(A)
    assert (image.status, task.attempts) == (Status.ACTIVE, 2)
    assert image.locations[0].key != lost_key
    cluster.audit()


@pytest.mark.rule("claims.16", "tasks.4")
async def test_a_worker_that_is_stopped_leaves_the_task_to_others(cluster: Cluster) -> None:
    """At once, without waiting for its lease."""
    await cluster.importing(A)
    node = cluster.node(near=override_calls(cluster.near, put=hangs))

    with anyio.move_on_after(5):
        await node.run_tasks()
    image = await cluster.image(A)

    task = await cluster.task_of(A)
    assert task.status is TaskStatus.PENDING
    assert image.claim is None
    assert await cluster.node().run_tasks() == 1


@pytest.mark.parametrize("lost", [ClaimLost, "catalog"])
@pytest.mark.rule("tasks.4", "tasks.5")
async def test_a_worker_that_hears_nothing_leaves_the_task_to_others(
    cluster: Cluster, lost: object
) -> None:
    """That its server could not renew, or could not write, says nothing about the work."""
    await cluster.importing(A)
    if lost is ClaimLost:
        deaf = override_calls(cluster.catalog, renew_leases=catalog_fails)
        node = cluster.node(catalog=deaf, near=override_calls(cluster.near, put=hangs))
    else:
        modify = nth(cluster.catalog.modify_image, 2, before=catalog_fails)
        node = cluster.node(catalog=override_calls(cluster.catalog, modify_image=modify))
    await run_round(node)

    task = await cluster.task_of(A)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 1)
    assert await cluster.node().run_tasks() == 1


def that_read_long_ago(cluster: Cluster, task: Task) -> Node:
    """A worker that takes this task for one that waits."""

    async def long_ago(*_: object) -> list[Task]:
        return [task]

    return cluster.node(
        "late", catalog=override_calls(cluster.catalog, find_pending_tasks=long_ago)
    )


async def die_in_attempt(cluster: Cluster, name: str = A) -> str:
    """Pick a task up, and be killed in the middle of it. Return the key that was written."""
    modify = from_nth(cluster.catalog.modify_image, 3, catalog_fails)
    deaf = override_calls(cluster.catalog, modify_image=modify, add_stray=catalog_fails)
    dying = Node("dying", deaf, cluster.stores(override_calls(cluster.near, put=hangs)))
    with anyio.move_on_after(1):
        await dying.run_tasks()
    return (await cluster.image(name)).locations[0].key


async def run_round(node: Node) -> None:
    """A round, as its loop runs it."""
    with anyio.move_on_after(2 * SILENCE):
        try:
            await node.run_tasks()
        except ImagedError:
            return
