"""The clone task: a new image of the same bytes, or none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from imaged.core.access import Caller
from imaged.core.deletion import deactivate, delete
from imaged.core.errors import (
    DataForbidden,
    ImageNotFound,
    InvalidInput,
    InvalidTransition,
    TooMany,
)
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import Status
from imaged.core.limits import MAX_PROPERTIES
from imaged.core.task import TaskStatus
from support.bodies import BODY
from support.callers import ADMIN, OWNER, STRANGER
from support.cluster import Cluster
from support.faults import nth
from support.node import A
from support.quotas import limit_total, used_bytes
from support.remote_service import URL, web_of

pytestmark = pytest.mark.anyio


async def cloned(cluster: Cluster, caller: Caller = OWNER, **properties: object) -> Image:
    """Clone the image, and look at what came of it."""
    fields = {"image_id": A, "image_properties": properties}
    task = await cluster.node().do_task("clone", fields, caller)
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    assert task.image_id == A
    return await cluster.image(str(task.result["image_id"]))


async def test_a_clone_is_like_its_source(cluster: Cluster) -> None:
    """But for owner, visibility, and the attributes that the caller sets."""
    source = await cluster.active(A)
    describe: dict[str, Any] = {"name": "n", "min_ram_mib": 7, "min_disk_gib": 3, "tags": ("t",)}
    more: dict[str, Any] = {"protected": True, "visibility": Visibility.PUBLIC}
    more["properties"] = {"a": "1", "b": "2"}
    source = await cluster.change(A, lambda image: replace(image, **describe, **more))

    clone = await cloned(cluster, STRANGER, b="3", c="4")
    other = await cloned(cluster, name=None, min_ram=1, min_disk=0, tags=["u"])

    assert (clone.owner, clone.status, clone.draft) == ("p2", Status.ACTIVE, False)
    assert (clone.content, clone.locations) == (source.content, source.locations)
    assert (clone.name, clone.min_ram_mib, clone.min_disk_gib, clone.tags) == ("n", 7, 3, ("t",))
    assert (clone.protected, clone.visibility) == (False, Visibility.SHARED)
    assert clone.properties == {"a": "1", "b": "3", "c": "4"}
    assert (other.name, other.min_ram_mib, other.min_disk_gib, other.tags) == (None, 1, 0, ("u",))
    assert clone.created_at == clone.updated_at
    cluster.audit()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"image_id": A}, TaskStatus.SUCCESS),
        ({"image_id": A, "store": "near"}, TaskStatus.SUCCESS),
        ({"image_id": A, "store": "far"}, TaskStatus.PENDING),
        ({"source_image_url": URL}, TaskStatus.PENDING),
    ],
)
async def test_a_clone_without_copying_runs_where_it_is_accepted(
    cluster: Cluster, fields: dict[str, object], status: TaskStatus
) -> None:
    """All else waits for a worker."""
    await cluster.active(A)
    node = cluster.node(web=web_of())
    cluster.start(node.runner.serve_brief_only())
    await anyio.sleep(1)
    task = await node.task_service.create(OWNER, "clone", fields)
    await anyio.sleep(1)
    assert (await cluster.catalog.get_task(task.id)).status is status


@pytest.mark.rule("ledger.4")
async def test_a_clone_costs_no_bytes(cluster: Cluster) -> None:
    """But its owner pays for them."""
    source = await cluster.active(A)
    await cloned(cluster, ADMIN, owner="p2")
    assert cluster.keys == {source.locations[0].key}
    assert await used_bytes(cluster.catalog, "p2") == len(BODY)
    cluster.audit()


@pytest.mark.parametrize("goes_first", ["source", "clone"])
@pytest.mark.parametrize("delayed", [True, False])
@pytest.mark.rule("ledger.4", "ledger.10", "ledger.11", "scrubbing.1")
async def test_each_is_whole_without_the_other(
    cluster: Cluster, goes_first: str, *, delayed: bool
) -> None:
    """Source or clone, deleted with a delay or without: the other one keeps its bytes."""
    await cluster.active(A)
    clone = await cloned(cluster)
    node = cluster.node()
    first, second = (A, clone.id) if goes_first == "source" else (clone.id, A)

    await node.delete(first, delayed=delayed)
    await cluster.settle()
    other = await cluster.image(second)

    assert (await cluster.image(first)).status is Status.DELETED
    assert other.status is Status.ACTIVE
    assert cluster.near.blobs[other.locations[0].key] == BODY

    await node.delete(second)
    await cluster.settle()
    assert not cluster.keys
    assert not cluster.catalog.blobs


@pytest.mark.rule("ledger.4", "ledger.10", "scrubbing.1")
async def test_an_expired_image_does_not_wait_for_bytes_that_live_on(cluster: Cluster) -> None:
    """They are not its own any more: its record goes at once, and its owner pays no longer."""
    await cluster.active(A)
    await cloned(cluster, ADMIN, owner="p2")
    node = cluster.node(delay=timedelta(0))
    await node.delete(A)

    await node.scrubber.run_due()

    assert (await cluster.image(A)).status is Status.DELETED
    assert await used_bytes(cluster.catalog, "p1") == 0
    cluster.audit()


@pytest.mark.rule("tasks.19")
async def test_without_room_there_is_no_clone(cluster: Cluster) -> None:
    """The draft never was an image of a project."""
    await cluster.active(A)
    await limit_total(cluster.catalog, "p1", len(BODY))
    task = await cluster.node().do_task("clone", {"image_id": A}, OWNER)
    assert "The project p1 has a limit 'total' of" in str(task.message)
    (draft,) = [image for image in cluster.catalog.images.values() if image.id != A]
    assert (draft.status, draft.draft) == (Status.DELETED, True)
    cluster.audit()


async def test_a_source_that_goes_meanwhile(cluster: Cluster) -> None:
    """Gone before the attempt, or between its looks: the ledger refuses."""
    await cluster.active(A)
    node = cluster.node()
    early = await node.task_service.create(OWNER, "clone", {"image_id": A})
    await cluster.change(A, delete(delayed=True))
    await node.run_tasks()
    assert (await cluster.catalog.get_task(early.id)).message == f"There is no image {A}."

    await node.restore(A)
    task = await node.task_service.create(OWNER, "clone", {"image_id": A})

    async def gone(*_: object) -> None:
        await cluster.change(A, delete(delayed=False))

    await cluster.node("late", fault=nth(cluster.catalog.modify_image, 2, before=gone)).run_tasks()
    late = await cluster.catalog.get_task(task.id)
    assert late.message == "The data of the image is being deleted."
    cluster.audit()


@pytest.mark.parametrize("number", [1, 2])
async def test_a_worker_that_dies_before_or_after_its_commit(cluster: Cluster, number: int) -> None:
    """One clone in the end, never two, and never half of one."""
    await cluster.active(A)
    node = cluster.node()
    task = await node.task_service.create(OWNER, "clone", {"image_id": A})
    await cluster.run_tasks_after_deaths(node, number)

    assert (await cluster.catalog.get_task(task.id)).status is TaskStatus.SUCCESS
    active = [image for image in cluster.catalog.images.values() if image.status is Status.ACTIVE]
    assert len(active) == 2
    cluster.audit()


async def test_what_is_refused_at_once(cluster: Cluster) -> None:
    """Nothing is stored of it."""
    await cluster.queued(A)
    node = cluster.node()
    with pytest.raises(InvalidTransition):
        await node.task_service.create(OWNER, "clone", {"image_id": A})
    await node.upload(A)
    with pytest.raises(ImageNotFound):
        await node.task_service.create(STRANGER, "clone", {"image_id": A})
    for name in ("disk_format", "container_format"):
        fields = {"image_id": A, "image_properties": {name: "ova"}}
        with pytest.raises(InvalidInput, match=name):
            await node.task_service.create(OWNER, "clone", fields)
    many = {f"theirs{number}": "" for number in range(MAX_PROPERTIES)}
    await cluster.change(A, lambda image: replace(image, properties=many))
    more = {"image_id": A, "image_properties": {"ours": ""}}
    with pytest.raises(TooMany):
        await node.task_service.create(OWNER, "clone", more)
    await cloned(cluster, disk_format="raw")
    await cluster.change(A, deactivate)
    with pytest.raises(DataForbidden):
        await node.task_service.create(OWNER, "clone", {"image_id": A})

    assert len(cluster.catalog.tasks) == 1
    assert (await cloned(cluster, ADMIN)).status is Status.ACTIVE
