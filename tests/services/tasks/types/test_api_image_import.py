"""Imports: what was staged becomes an image's data, or says why not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from imaged.core.disk_format import FormatPolicy
from imaged.core.edits import may_change_formats
from imaged.core.errors import (
    FormatRefused,
    FormatsChanged,
    ImageDeleted,
    ImportNotReady,
    InvalidTransition,
)
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus
from imaged.core.uploading import change_task
from imaged.services.ingest_pipeline import IngestSettings
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.types.api_image_import import begin_import_call
from imaged.services.tasks.types.import_methods import StagedBytes
from support.bodies import BODY, send
from support.callers import ADMIN
from support.cluster import Cluster
from support.faults import catalog_fails, from_nth, nth, override_calls, pause, store_fails
from support.node import LEASE, RENEW_EVERY, A, B, image_id
from support.quotas import used_bytes
from support.settings import configured

pytestmark = pytest.mark.anyio

ROOM = 10


# from staged bytes to data


async def test_staged_bytes_become_the_images_data(cluster: Cluster) -> None:
    """Under a key of their own; what was staged goes with the success, and only then."""
    image = await cluster.importing(A)
    assert image.staged is not None
    assert image.status is Status.IMPORTING

    assert await cluster.node().run_tasks() == 1
    image_after = await cluster.image(A)
    await cluster.settle()

    assert image_after.status is Status.ACTIVE
    task = await cluster.task_of(A)
    assert (task.status, task.message) == (TaskStatus.SUCCESS, None)
    assert image_after.staged is None
    (location,) = image_after.locations
    assert location.key != image.staged.key
    assert cluster.keys == {location.key}
    assert cluster.near.blobs[location.key] == BODY


@pytest.mark.rule("tasks.1")
async def test_an_import_cannot_begin_before_its_staging_has_ended(cluster: Cluster) -> None:
    """What is still being sent is not whole."""
    await cluster.queued(A)
    node = cluster.node()
    running = cluster.start(node.stage(A, send(chunks=2, every=5)))
    await anyio.sleep(1)

    with pytest.raises(InvalidTransition):
        await node.ask_import(A)
    await running.outcome()

    assert (await node.ask_import(A)).status is Status.IMPORTING


async def test_an_import_needs_formats(cluster: Cluster) -> None:
    """And nothing has changed where they are not set."""
    await cluster.importing(A)  # how another image looks
    await cluster.queued(B, disk_format=None)
    staged = replace(await cluster.image(B), status=Status.UPLOADING)
    with pytest.raises(ImportNotReady, match="disk_format"):
        begin_import_call(await cluster.task_of(A), StagedBytes(cluster.stores()))(staged)


# what ends a task


@pytest.mark.rule("tasks.6")
async def test_deleting_an_image_cancels_its_task(cluster: Cluster) -> None:
    """Waiting or worked on: it ends, says why, and its bytes go."""
    for name in (A, B):
        await cluster.importing(name)
    await cluster.node().delete(B)
    node = cluster.node(
        near=override_calls(cluster.near, put=nth(cluster.near.put, 1, before=pause(40)))
    )
    running = cluster.start(node.run_tasks())
    await anyio.sleep(1)
    await cluster.node().delete(A)

    assert await running.outcome() == 0
    for image in (await cluster.image(A), await cluster.image(B)):
        assert image.status is Status.DELETED
        task = await cluster.task_of(image.id)
        assert (task.status, task.message) == (TaskStatus.FAILURE, "The image was deleted.")
    await cluster.settle()
    assert not cluster.keys
    assert not cluster.catalog.blobs


@pytest.mark.parametrize("why", ["size", "format", "store", "cancelled", "lost"])
@pytest.mark.rule("bytes.7")
async def test_a_failure_keeps_what_was_staged(cluster: Cluster, why: str) -> None:
    """Whatever ended the import: the image waits, says why, and a next call works."""
    staged = (await cluster.importing(A)).staged
    node = cluster.node()
    match why:
        case "size":
            node = cluster.node(stages=configured(IngestSettings, max_size_bytes=len(BODY) - 1))
        case "format":
            await cluster.change(A, lambda image: replace(image, disk_format="qcow2"))
        case "store":
            node = cluster.node(near=override_calls(cluster.near, put=store_fails))
        case "cancelled":
            await node.task_service.cancel(ADMIN, (await cluster.task_of(A)).id)
        case "lost":
            await lose_last_attempt(cluster)
            await node.reclaimer.run_due()
    assert await node.run_tasks() == 0

    image = await cluster.image(A)
    assert (image.status, image.staged, image.locations) == (Status.UPLOADING, staged, ())
    failure = await cluster.failure_of(A)
    assert (failure.phase, image.claim, image.task) == ("import", None, None)
    assert (await cluster.task_of(A)).status is TaskStatus.FAILURE
    await cluster.settle()
    assert staged is not None
    assert cluster.keys == {staged.key}
    assert await used_bytes(cluster.catalog, "p1") == len(BODY)

    await cluster.change(A, lambda image: replace(image, disk_format="raw"))
    await cluster.node().ask_import(A)
    assert await cluster.node().run_tasks() == 1
    image = await cluster.image(A)
    assert (image.status, image.last_failure) == (Status.ACTIVE, None)
    await cluster.settle()
    assert cluster.keys == {image.locations[0].key}


async def test_other_data_is_staged_instead_on_purpose(cluster: Cluster) -> None:
    """What was staged before is let go."""
    await cluster.queued(A)
    node = cluster.node()
    before = await node.stage(A)
    with pytest.raises(InvalidTransition):
        await node.stage(A)

    after = await node.stage(A, send(chunks=3), replaces=True)

    assert after.status is Status.UPLOADING
    await cluster.settle()
    assert before.staged is not None
    assert after.staged is not None
    assert cluster.keys == {after.staged.key} != {before.staged.key}


@pytest.mark.rule("bytes.7")
async def test_one_image_that_fails_does_not_hold_up_others(cluster: Cluster) -> None:
    """More of them than there is room for: all are worked on, in a few rounds."""
    names = [image_id(number) for number in range(1, ROOM + 6)]
    for name in names:
        await cluster.importing(name)
        await anyio.sleep(1)
    for name in names[:5]:
        await cluster.change(name, lambda image: replace(image, disk_format="iso"))
    node = cluster.node(tasks=configured(RunnerSettings, concurrency=ROOM))

    counts = [await node.run_tasks() for _ in range(3)]

    assert counts == [ROOM - 5, 5, 0]
    cluster.audit()


@pytest.mark.rule("claims.13")
async def test_staging_an_image_that_is_deleted_meanwhile(cluster: Cluster) -> None:
    """A finish that comes too late is told as what it is."""
    await cluster.queued(A)

    async def deleted(*_: object) -> None:
        await cluster.node().delete(A)

    node = cluster.node(fault=nth(cluster.catalog.modify_image, 2, before=deleted))

    with pytest.raises(ImageDeleted):
        await node.stage(A, send(), len(BODY))


async def lose_last_attempt(cluster: Cluster) -> None:
    """A worker picks the task up for the last time, and dies."""
    last = change_task(lambda task: replace(task, attempts=task.max_attempts - 1))
    await cluster.change(A, last)
    modify = from_nth(cluster.catalog.modify_image, 3, catalog_fails)
    deaf = override_calls(cluster.catalog, modify_image=modify, add_stray=catalog_fails)
    slow = override_calls(cluster.near, put=pause(900))
    with anyio.move_on_after(1):
        await cluster.node("dead", catalog=deaf, near=slow, beats=False).run_tasks()
    await anyio.sleep((LEASE + 2 * RENEW_EVERY).total_seconds())


# what is judged is what is published

PATCHES: list[dict[str, Any]] = [
    {"disk_format": "qcow2"},
    {"container_format": "ova"},
    {"disk_format": None},
]


@pytest.mark.parametrize("patch", PATCHES)
async def test_formats_that_are_patched_in_the_middle_are_not_believed(
    cluster: Cluster, patch: dict[str, Any]
) -> None:
    """The patch is made; what was judged as something else is not published as that."""
    await cluster.importing(A)

    async def patched(*_: object) -> None:
        assert may_change_formats(await cluster.image(A))
        await cluster.change(A, lambda image: replace(image, **patch))

    near = override_calls(cluster.near, put=nth(cluster.near.put, 1, after=patched))
    assert await cluster.node(near=near).run_tasks() == 0

    image, task = await cluster.image(A), await cluster.task_of(A)
    assert (image.status, task.status) == (Status.UPLOADING, TaskStatus.FAILURE)
    assert "changed meanwhile" in (task.message or "")
    await cluster.change(
        A, lambda image: replace(image, disk_format="raw", container_format="bare")
    )
    await cluster.node().ask_import(A)
    assert await cluster.node().run_tasks() == 1


async def test_an_upload_publishes_no_other_formats(cluster: Cluster) -> None:
    """No patch is accepted while data is sent, and no other change is believed either."""
    await cluster.queued(A)

    async def changed(*_: object) -> None:
        assert not may_change_formats(await cluster.image(A))
        await cluster.change(A, lambda image: replace(image, disk_format="qcow2"))

    near = override_calls(cluster.near, put=nth(cluster.near.put, 1, after=changed))
    with pytest.raises(FormatsChanged):
        await cluster.node(near=near).upload(A)
    assert (await cluster.image(A)).status is Status.QUEUED


async def test_the_policy_of_the_verdict_is_that_of_its_moment(cluster: Cluster) -> None:
    """An operator who forbids something while it is sent does not see it published."""
    await cluster.queued(A, disk_format="qcow2")
    node = cluster.node(
        stages=configured(IngestSettings, formats=configured(FormatPolicy, check_format=False))
    )

    async def forbidden(*_: object) -> AsyncGenerator[bytes]:
        yield BODY
        node.ingest.settings = configured(IngestSettings)
        yield BODY

    with pytest.raises(FormatRefused):
        await node.upload(A, forbidden())
    assert (await cluster.image(A)).status is Status.QUEUED
