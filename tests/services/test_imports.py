"""Imports: tasks that outlive their workers, a few times."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from imaged.core.access import Caller
from imaged.core.errors import (
    ClaimLost,
    FormatsUnset,
    ImageDeleted,
    ImagedError,
    ImageNotFound,
    InvalidTransition,
)
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus
from imaged.services.stages import StageSettings
from imaged.services.tasks.imports import BATCH
from support.faults import catalog_fails, detour, from_nth, hangs, nth, store_fails
from support.node import BODY, LEASE, A, B, Node, Site, image_id, send

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()


async def staged(site: Site, name: str = A) -> Image:
    """An image whose import was asked for."""
    await site.queued(name)
    await site.node().stage(name)
    return await site.node().ask_import(name)


async def die_in_attempt(site: Site, name: str = A) -> str:
    """Pick a task up, and be killed in the middle of it. Return the key that was written."""
    modify = from_nth(site.catalog.modify_image, 2, catalog_fails)
    deaf = detour(site.catalog, modify_image=modify, add_stray=catalog_fails)
    dying = Node("dying", deaf, site.stores(detour(site.near, put=hangs)))
    with anyio.move_on_after(1):
        await dying.imports.run_due()
    return (await site.image(name)).locations[0].key


async def test_staged_bytes_become_the_images_data(site: Site) -> None:
    """Under a key of their own; what was staged goes with the success, and only then."""
    image = await staged(site)
    assert image.staged is not None
    assert image.status is Status.IMPORTING

    assert await site.node().imports.run_due() == 1
    image_after = await site.image(A)
    await site.settle()

    assert image_after.status is Status.ACTIVE
    assert image_after.task is not None
    assert image_after.task.status is TaskStatus.SUCCESS
    assert image_after.task.message is None
    assert image_after.staged is None
    (location,) = image_after.locations
    assert location.key != image.staged.key
    assert site.keys == {location.key}
    assert site.near.blobs[location.key] == BODY


async def test_what_waits_for_an_import_takes_no_upload(site: Site) -> None:
    """Neither while it is staged, nor while its task waits."""
    await site.queued(A)
    node = site.node()
    await node.stage(A)
    with pytest.raises(InvalidTransition):
        await node.upload(A)

    await node.ask_import(A)
    with pytest.raises(InvalidTransition):
        await node.upload(A)


async def test_an_import_cannot_begin_before_its_staging_has_ended(site: Site) -> None:
    """What is still being sent is not whole."""
    await site.queued(A)
    node = site.node()
    running = site.start(node.stage(A, send(chunks=2, every=5)))
    await anyio.sleep(1)

    with pytest.raises(InvalidTransition):
        await node.ask_import(A)
    await running.outcome()

    assert (await node.ask_import(A)).status is Status.IMPORTING


async def test_who_may_ask(site: Site) -> None:
    """The image's owner, and nobody to whom it is not visible."""
    await site.queued(A)
    await site.node().stage(A)

    with pytest.raises(ImageNotFound):
        await site.node().imports.ask(Caller("bob", "p2", frozenset({"member"})), A)


async def test_an_import_needs_formats(site: Site) -> None:
    """And nothing has changed where they are not set."""
    await site.queued(A, disk_format=None)

    with pytest.raises(FormatsUnset):
        await site.node().ask_import(A)

    assert (await site.image(A)).status is Status.QUEUED


# workers


async def test_a_task_is_picked_up_once(site: Site) -> None:
    """Two workers see it waiting: one gets it, the other leaves it alone."""
    await staged(site)
    workers = [site.start(site.node(name).imports.run_due()) for name in ("a", "b", "c")]
    counts = [await worker.outcome() for worker in workers]
    image = await site.image(A)

    assert sorted(counts) == [0, 0, 1]
    assert image.status is Status.ACTIVE
    assert image.task is not None
    assert image.task.attempts == 1
    await site.settle()
    assert len(site.keys) == 1


async def test_a_task_that_is_worked_on_is_not_picked_up_again(site: Site) -> None:
    """Not even by somebody who read, long ago, that it was waiting."""
    await staged(site)
    waiting = await site.image(A)
    slow = site.node("slow", near=detour(site.near, put=nth(site.near.put, 1, before=pause_long)))
    running = site.start(slow.imports.run_due())
    await anyio.sleep(1)

    async def long_ago(_: int) -> list[str]:
        return [waiting.id]

    late = site.node("late", catalog=detour(site.catalog, find_pending_tasks=long_ago))
    assert await late.imports.run_due() == 0

    assert await running.outcome() == 1
    image = await site.image(A)
    assert image.task is not None
    assert image.task.attempts == 1


async def test_staged_bytes_survive_a_lost_attempt(site: Site) -> None:
    """The next worker finds all that it needs, and writes under another key."""
    before = await staged(site)
    lost_key = await die_in_attempt(site)
    await site.settle(150)
    between = await site.image(A)

    assert between.status is Status.IMPORTING
    assert between.staged == before.staged
    assert between.task is not None
    assert (between.task.status, between.task.attempts) == (TaskStatus.PENDING, 1)

    await site.node().imports.run_due()
    image = await site.image(A)
    assert image.task is not None
    assert (image.status, image.task.attempts) == (Status.ACTIVE, 2)
    assert image.locations[0].key != lost_key
    site.audit()


async def test_an_import_survives_its_worker_a_few_times_only(site: Site) -> None:
    """What kills every worker must not do so for ever: then it is queued, and says why."""
    await staged(site)
    for _ in range(3):
        await die_in_attempt(site)
        await site.settle(150)
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.task is not None
    assert (image.task.status, image.task.attempts) == (TaskStatus.FAILURE, 3)
    assert image.task.message == "The server that was working on it went silent., 3 times"
    assert image.last_failure is not None
    assert image.last_failure.phase == "import"
    assert await site.node().imports.run_due() == 0
    assert not site.keys
    assert not site.catalog.blobs


async def test_a_worker_that_is_stopped_leaves_the_task_to_others(site: Site) -> None:
    """At once, without anybody waiting for its lease."""
    await staged(site)
    node = site.node(near=detour(site.near, put=hangs))

    with anyio.move_on_after(5):
        await node.imports.run_due()
    image = await site.image(A)

    assert image.task is not None
    assert image.task.status is TaskStatus.PENDING
    assert image.claim is None
    assert await site.node().imports.run_due() == 1


@pytest.mark.parametrize("lost", [ClaimLost, "catalog"])
async def test_a_worker_that_hears_nothing_leaves_the_task_to_others(
    site: Site, lost: object
) -> None:
    """That its server could not renew, or could not write, says nothing about the work."""
    await staged(site)
    if lost is ClaimLost:
        deaf = detour(site.catalog, renew_leases=catalog_fails)
        node = site.node(catalog=deaf, near=detour(site.near, put=hangs))
    else:
        modify = nth(site.catalog.modify_image, 2, before=catalog_fails)
        node = site.node(catalog=detour(site.catalog, modify_image=modify))
    await run_round(node)
    image = await site.image(A)

    assert image.task is not None
    assert (image.task.status, image.task.attempts) == (TaskStatus.PENDING, 1)
    assert await site.node().imports.run_due() == 1


# what ends a task


async def test_deleting_an_image_cancels_its_task(site: Site) -> None:
    """Waiting or worked on: it ends, says why, and its bytes go."""
    for name in (A, B):
        await staged(site, name)
    await site.node().delete(B)
    node = site.node(near=detour(site.near, put=nth(site.near.put, 1, before=pause_long)))
    running = site.start(node.imports.run_due())
    await anyio.sleep(1)
    await site.node().delete(A)

    assert await running.outcome() == 0
    for image in (await site.image(A), await site.image(B)):
        assert image.status is Status.DELETED
        assert image.task is not None
        assert image.task.status is TaskStatus.FAILURE
        assert image.task.message == "the image was deleted"
    await site.settle()
    assert not site.keys
    assert not site.catalog.blobs


async def test_a_task_without_room_fails_and_does_not_wait_for_ever(site: Site) -> None:
    """It may not even begin, so it ends; a retry works when there is room."""
    await staged(site)
    await site.catalog.set_limit("p1", len(BODY))

    assert await site.node().imports.run_due() == 0
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.task is not None
    assert image.task.message == "The quota of the project p1 is used up."
    assert image.task.status is TaskStatus.FAILURE
    assert not await site.catalog.find_pending_tasks(9)
    await site.settle()
    assert not site.keys


async def test_a_task_that_is_too_large_now_fails_and_does_not_wait_for_ever(site: Site) -> None:
    """The limit was lowered since it was staged."""
    await staged(site)
    node = site.node(stages=StageSettings(max_size_bytes=len(BODY) - 1))

    assert await node.imports.run_due() == 0
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.task is not None
    assert image.task.status is TaskStatus.FAILURE
    assert image.last_failure is not None
    assert "largest" in image.last_failure.reason or "larger" in image.last_failure.reason


async def test_data_that_is_refused_ends_the_task(site: Site) -> None:
    """Another attempt would not help: the bytes would be the same."""
    await staged(site)
    await site.change(A, lambda image: replace(image, disk_format="qcow2"))

    assert await site.node().imports.run_due() == 0
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.task is not None
    assert (image.task.status, image.task.attempts) == (TaskStatus.FAILURE, 1)
    assert image.task.message is not None
    assert "qcow2" in image.task.message


async def test_an_import_of_nothing_ends(site: Site) -> None:
    """Nothing was staged: the task says so, and does not try again."""
    await site.queued(A)
    await site.node().ask_import(A)

    assert await site.node().imports.run_due() == 0
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.task is not None
    assert image.task.status is TaskStatus.FAILURE
    await site.settle()
    assert not site.keys


async def test_a_failed_staging_is_told_and_can_be_repeated(site: Site) -> None:
    """The image is queued again, without the bytes."""
    await site.queued(A)

    with pytest.raises(Exception, match="is down"):
        await site.node(near=detour(site.near, put=store_fails)).stage(A)
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.last_failure is not None
    assert image.last_failure.phase == "staging"
    assert (await site.node().stage(A)).status is Status.UPLOADING


async def test_one_image_that_fails_does_not_hold_up_others(site: Site) -> None:
    """More of them than a batch takes: all are worked on, in a few rounds."""
    names = [image_id(number) for number in range(1, BATCH + 6)]
    for name in names:
        await staged(site, name)
    for name in names[:5]:
        await site.change(name, lambda image: replace(image, disk_format="iso"))
    node = site.node()

    counts = [await node.imports.run_due() for _ in range(3)]

    assert counts == [BATCH - 5, 5, 0]
    site.audit()


async def test_staging_an_image_that_is_deleted_meanwhile(site: Site) -> None:
    """A finish that comes too late is told as what it is."""
    await site.queued(A)

    async def deleted(*_: object) -> None:
        await site.node().delete(A)

    modify = nth(site.catalog.modify_image, 2, before=deleted)
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    with pytest.raises(ImageDeleted):
        await node.stage(A, send(), len(BODY))


async def pause_long(*_: object) -> None:
    """Longer than a renewal, shorter than a lease."""
    await anyio.sleep(40)


async def run_round(node: Node) -> None:
    """A round, as its loop runs it."""
    with anyio.move_on_after(2 * SILENCE):
        try:
            await node.imports.run_due()
        except ImagedError:
            return
