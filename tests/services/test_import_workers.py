"""Workers of imports: one at a time, and a task outlives a few of them."""

from __future__ import annotations

import anyio
import pytest

from imaged.core.errors import (
    ClaimLost,
    ImagedError,
)
from imaged.core.lifecycle import Status
from imaged.core.task import Task, TaskStatus
from support.faults import catalog_fails, detour, from_nth, hangs, nth, pause
from support.node import ADMIN, LEASE, A, Node
from support.site import Site

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()


async def test_a_task_is_picked_up_once(site: Site) -> None:
    """Two workers see it waiting: one gets it, the other leaves it alone."""
    await site.importing(A)
    workers = [site.start(site.node(name).run_tasks()) for name in ("a", "b", "c")]
    counts = [await worker.outcome() for worker in workers]
    image = await site.image(A)

    assert 1 in counts
    assert image.status is Status.ACTIVE
    assert (await site.task_of(A)).attempts == 1
    await site.settle()
    assert len(site.keys) == 1


async def test_a_task_that_is_worked_on_is_not_picked_up_again(site: Site) -> None:
    """Not even by somebody who read, long ago, that it was waiting."""
    await site.importing(A)
    waiting = await site.task_of(A)
    slow = site.node("slow", near=detour(site.near, put=nth(site.near.put, 1, before=pause(40))))
    running = site.start(slow.run_tasks())
    await anyio.sleep(1)

    async def long_ago(*_: object) -> list[Task]:
        return [waiting]

    late = site.node("late", catalog=detour(site.catalog, find_pending_tasks=long_ago))
    assert await late.run_tasks() == 0  # it is still processing

    assert await running.outcome() == 1
    task = await site.task_of(A)
    assert task.attempts == 1


async def test_a_task_is_picked_up_by_its_id(site: Site) -> None:
    """Not another one that writes the same image by now."""
    await site.importing(A)
    first = await site.task_of(A)
    node = site.node()
    await node.desk.cancel(ADMIN, first.id)
    await anyio.sleep(1)
    await node.ask_import(A)

    async def long_ago(*_: object) -> list[Task]:
        return [first]

    late = site.node("late", catalog=detour(site.catalog, find_pending_tasks=long_ago))
    assert await late.run_tasks() == 0
    second = await site.task_of(A)
    assert (second.status, second.attempts) == (TaskStatus.PENDING, 0)


async def test_staged_bytes_survive_a_lost_attempt(site: Site) -> None:
    """The next worker finds all that it needs, and writes under another key."""
    before = await site.importing(A)
    lost_key = await die_in_attempt(site)
    await site.settle(150)
    between = await site.image(A)

    assert between.status is Status.IMPORTING
    assert between.staged == before.staged
    task = await site.task_of(A)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 1)

    await site.node().run_tasks()
    image = await site.image(A)
    task = await site.task_of(A)
    assert (image.status, task.attempts) == (Status.ACTIVE, 2)
    assert image.locations[0].key != lost_key
    site.audit()


async def test_an_import_survives_its_worker_a_few_times_only(site: Site) -> None:
    """What kills every worker must not do so for ever: then it has failed, and says why."""
    await site.importing(A)
    for _ in range(3):
        await die_in_attempt(site)
        await site.settle(150)
    image = await site.image(A)

    assert image.status is Status.UPLOADING
    assert image.staged is not None
    task = await site.task_of(A)
    assert (task.status, task.attempts) == (TaskStatus.FAILURE, 3)
    assert task.message == (
        "The server that was working on it went silent. That was attempt 3, the last one."
    )
    assert image.last_failure is not None
    assert image.last_failure.phase == "import"
    assert await site.node().run_tasks() == 0
    assert site.keys == site.catalog.blobs.keys() == {image.staged.key}


async def test_a_worker_that_is_stopped_leaves_the_task_to_others(site: Site) -> None:
    """At once, without anybody waiting for its lease."""
    await site.importing(A)
    node = site.node(near=detour(site.near, put=hangs))

    with anyio.move_on_after(5):
        await node.run_tasks()
    image = await site.image(A)

    task = await site.task_of(A)
    assert task.status is TaskStatus.PENDING
    assert image.claim is None
    assert await site.node().run_tasks() == 1


@pytest.mark.parametrize("lost", [ClaimLost, "catalog"])
async def test_a_worker_that_hears_nothing_leaves_the_task_to_others(
    site: Site, lost: object
) -> None:
    """That its server could not renew, or could not write, says nothing about the work."""
    await site.importing(A)
    if lost is ClaimLost:
        deaf = detour(site.catalog, renew_leases=catalog_fails)
        node = site.node(catalog=deaf, near=detour(site.near, put=hangs))
    else:
        modify = nth(site.catalog.modify_image, 2, before=catalog_fails)
        node = site.node(catalog=detour(site.catalog, modify_image=modify))
    await run_round(node)

    task = await site.task_of(A)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 1)
    assert await site.node().run_tasks() == 1


async def die_in_attempt(site: Site, name: str = A) -> str:
    """Pick a task up, and be killed in the middle of it. Return the key that was written."""
    modify = from_nth(site.catalog.modify_image, 3, catalog_fails)
    deaf = detour(site.catalog, modify_image=modify, add_stray=catalog_fails)
    dying = Node("dying", deaf, site.stores(detour(site.near, put=hangs)))
    with anyio.move_on_after(1):
        await dying.run_tasks()
    return (await site.image(name)).locations[0].key


async def run_round(node: Node) -> None:
    """A round, as its loop runs it."""
    with anyio.move_on_after(2 * SILENCE):
        try:
            await node.run_tasks()
        except ImagedError:
            return
