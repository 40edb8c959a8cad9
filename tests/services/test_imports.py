"""Imports: what was staged becomes an image's data, or says why not."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from imaged.core.access import Caller
from imaged.core.errors import (
    ImageDeleted,
    ImageNotFound,
    ImportNotReady,
    InvalidTransition,
)
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus
from imaged.services.stages import StageSettings
from imaged.services.tasks.image_import import begin_import_call
from imaged.services.tasks.import_methods import StagedBytes
from imaged.services.tasks.runner import RunnerSettings
from support.bodies import BODY, send
from support.faults import detour, nth, pause, store_fails
from support.node import A, B, image_id
from support.site import Site

pytestmark = pytest.mark.anyio

ROOM = 10


# from staged bytes to data


async def test_staged_bytes_become_the_images_data(site: Site) -> None:
    """Under a key of their own; what was staged goes with the success, and only then."""
    image = await site.importing(A)
    assert image.staged is not None
    assert image.status is Status.IMPORTING

    assert await site.node().run_tasks() == 1
    image_after = await site.image(A)
    await site.settle()

    assert image_after.status is Status.ACTIVE
    task = await site.task_of(A)
    assert task.status is TaskStatus.SUCCESS
    assert task.message is None
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
    await site.importing(A)  # how another image looks
    await site.queued(B, disk_format=None)
    staged = replace(await site.image(B), status=Status.UPLOADING)

    with pytest.raises(ImportNotReady, match="disk_format"):
        begin_import_call(await site.task_of(A), StagedBytes(site.stores()))(staged)


# what ends a task


async def test_deleting_an_image_cancels_its_task(site: Site) -> None:
    """Waiting or worked on: it ends, says why, and its bytes go."""
    for name in (A, B):
        await site.importing(name)
    await site.node().delete(B)
    node = site.node(near=detour(site.near, put=nth(site.near.put, 1, before=pause(40))))
    running = site.start(node.run_tasks())
    await anyio.sleep(1)
    await site.node().delete(A)

    assert await running.outcome() == 0
    for image in (await site.image(A), await site.image(B)):
        assert image.status is Status.DELETED
        task = await site.task_of(image.id)
        assert task.status is TaskStatus.FAILURE
        assert task.message == "The image was deleted."
    await site.settle()
    assert not site.keys
    assert not site.catalog.blobs


async def test_a_task_without_room_fails_and_does_not_wait_for_ever(site: Site) -> None:
    """It may not even begin, so it ends; a retry works when there is room."""
    await site.importing(A)
    await site.catalog.set_limit("p1", len(BODY))

    assert await site.node().run_tasks() == 0
    image = await site.image(A)

    assert image.status is Status.QUEUED
    task = await site.task_of(A)
    assert task.message == "The quota of the project p1 is used up."
    assert task.status is TaskStatus.FAILURE
    assert not await site.catalog.find_pending_tasks(["api_image_import"], 9)
    await site.settle()
    assert not site.keys


async def test_a_task_that_is_too_large_now_fails_and_does_not_wait_for_ever(site: Site) -> None:
    """The limit was lowered since it was staged."""
    await site.importing(A)
    node = site.node(stages=StageSettings(max_size_bytes=len(BODY) - 1))

    assert await node.run_tasks() == 0
    image = await site.image(A)

    assert image.status is Status.QUEUED
    task = await site.task_of(A)
    assert task.status is TaskStatus.FAILURE
    assert image.last_failure is not None
    assert "largest" in image.last_failure.reason or "larger" in image.last_failure.reason


async def test_data_that_is_refused_ends_the_task(site: Site) -> None:
    """Another attempt would not help: the bytes would be the same."""
    await site.importing(A)
    await site.change(A, lambda image: replace(image, disk_format="qcow2"))

    assert await site.node().run_tasks() == 0
    image = await site.image(A)

    assert image.status is Status.QUEUED
    task = await site.task_of(A)
    assert (task.status, task.attempts) == (TaskStatus.FAILURE, 1)
    assert task.message is not None
    assert "qcow2" in task.message


async def test_an_import_of_nothing_is_refused(site: Site) -> None:
    """Nothing was staged: nothing changes."""
    image = await site.queued(A)

    with pytest.raises(ImportNotReady, match="staged"):
        await site.node().ask_import(A)

    assert await site.image(A) == image


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
    """More of them than there is room for: all are worked on, in a few rounds."""
    names = [image_id(number) for number in range(1, ROOM + 6)]
    for name in names:
        await site.importing(name)
        await anyio.sleep(1)
    for name in names[:5]:
        await site.change(name, lambda image: replace(image, disk_format="iso"))
    node = site.node(tasks=RunnerSettings(concurrency=ROOM))

    counts = [await node.run_tasks() for _ in range(3)]

    assert counts == [ROOM - 5, 5, 0]
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
