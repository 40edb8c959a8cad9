"""Imports: what was staged becomes an image's data, or says why not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from imaged.core.access import Caller
from imaged.core.disk_format import FormatPolicy
from imaged.core.edits import are_formats_open
from imaged.core.errors import (
    FormatRefused,
    ImageDeleted,
    ImageNotFound,
    ImportNotReady,
    InvalidTransition,
)
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus
from imaged.core.writing import change_task
from imaged.services.stages import StageSettings
from imaged.services.tasks.image_import import begin_import_call
from imaged.services.tasks.import_methods import StagedBytes
from imaged.services.tasks.runner import RunnerSettings
from support.bodies import BODY, send
from support.faults import catalog_fails, detour, from_nth, nth, pause, store_fails
from support.node import ADMIN, LEASE, RENEW_EVERY, A, B, image_id
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


@pytest.mark.parametrize("why", ["size", "format", "store", "cancelled", "lost"])
async def test_a_failure_keeps_what_was_staged(site: Site, why: str) -> None:
    """Whatever ended the import: the image waits, says why, and a next call works."""
    staged = (await site.importing(A)).staged
    node = site.node()
    match why:
        case "size":
            node = site.node(stages=StageSettings(max_size_bytes=len(BODY) - 1))
        case "format":
            await site.change(A, lambda image: replace(image, disk_format="qcow2"))
        case "store":
            node = site.node(near=detour(site.near, put=store_fails))
        case "cancelled":
            await node.desk.cancel(ADMIN, (await site.task_of(A)).id)
        case "lost":
            await lose_last_attempt(site)
            await node.reclaimer.run_due()
    assert await node.run_tasks() == 0

    image = await site.image(A)
    assert (image.status, image.staged, image.locations) == (Status.UPLOADING, staged, ())
    assert image.last_failure is not None
    assert (image.last_failure.phase, image.claim, image.task) == ("import", None, None)
    assert (await site.task_of(A)).status is TaskStatus.FAILURE
    await site.settle()
    assert staged is not None
    assert site.keys == {staged.key}
    assert (await site.catalog.get_account("p1")).used_bytes == len(BODY)

    await site.change(A, lambda image: replace(image, disk_format="raw"))
    await site.node().ask_import(A)
    assert await site.node().run_tasks() == 1
    image = await site.image(A)
    assert (image.status, image.last_failure) == (Status.ACTIVE, None)
    await site.settle()
    assert site.keys == {image.locations[0].key}


async def test_other_data_is_staged_instead_on_purpose(site: Site) -> None:
    """What was staged before is let go."""
    await site.queued(A)
    node = site.node()
    before = await node.stage(A)
    with pytest.raises(InvalidTransition):
        await node.stage(A)

    after = await node.stage(A, send(chunks=3), replaces=True)

    assert after.status is Status.UPLOADING
    await site.settle()
    assert before.staged is not None
    assert after.staged is not None
    assert site.keys == {after.staged.key} != {before.staged.key}


async def test_a_task_that_is_too_large_now_fails_and_does_not_wait_for_ever(site: Site) -> None:
    """The limit was lowered since it was staged."""
    await site.importing(A)
    node = site.node(stages=StageSettings(max_size_bytes=len(BODY) - 1))

    assert await node.run_tasks() == 0
    image = await site.image(A)

    assert image.status is Status.UPLOADING
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

    assert image.status is Status.UPLOADING
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


async def lose_last_attempt(site: Site) -> None:
    """A worker picks the task up for the last time, and dies."""
    last = change_task(lambda task: replace(task, attempts=task.max_attempts - 1))
    await site.change(A, last)
    modify = from_nth(site.catalog.modify_image, 3, catalog_fails)
    deaf = detour(site.catalog, modify_image=modify, add_stray=catalog_fails)
    slow = detour(site.near, put=pause(900))
    with anyio.move_on_after(1):
        await site.node("dead", catalog=deaf, near=slow, beats=False).run_tasks()
    await anyio.sleep((LEASE + 2 * RENEW_EVERY).total_seconds())


# what is judged is what is published

PATCHES: list[dict[str, Any]] = [
    {"disk_format": "qcow2"},
    {"container_format": "ova"},
    {"disk_format": None},
]


@pytest.mark.parametrize("patch", PATCHES)
async def test_formats_that_are_patched_in_the_middle_are_not_believed(
    site: Site, patch: dict[str, Any]
) -> None:
    """The patch is made; what was judged as something else is not published as that."""
    await site.importing(A)

    async def patched(*_: object) -> None:
        assert are_formats_open(await site.image(A))
        await site.change(A, lambda image: replace(image, **patch))

    near = detour(site.near, put=nth(site.near.put, 1, after=patched))
    assert await site.node(near=near).run_tasks() == 0

    image, task = await site.image(A), await site.task_of(A)
    assert (image.status, task.status) == (Status.UPLOADING, TaskStatus.FAILURE)
    assert task.message is not None
    assert "changed meanwhile" in task.message
    await site.change(A, lambda image: replace(image, disk_format="raw", container_format="bare"))
    await site.node().ask_import(A)
    assert await site.node().run_tasks() == 1


async def test_the_policy_of_the_verdict_is_that_of_its_moment(site: Site) -> None:
    """An operator who forbids something while it is sent does not see it published."""
    await site.queued(A, disk_format="qcow2")
    node = site.node(stages=StageSettings(formats=FormatPolicy(check_format=False)))

    async def forbidden(*_: object) -> AsyncGenerator[bytes]:
        yield BODY
        node.intake.settings = StageSettings()
        yield BODY

    with pytest.raises(FormatRefused):
        await node.upload(A, forbidden())
    assert (await site.image(A)).status is Status.QUEUED
