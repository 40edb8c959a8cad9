"""The clone task: a new image of the same bytes, or none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from imaged.core.access import Caller
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
from imaged.core.removal import deactivate, delete
from imaged.core.task import TaskStatus
from support.bodies import BODY
from support.faults import catalog_fails, detour, nth
from support.node import ADMIN, LEASE, OWNER, A, Node
from support.remote import URL, web_of
from support.site import Site

pytestmark = pytest.mark.anyio

BOB = Caller("bob", "p2", frozenset({"member"}))


async def cloned(site: Site, caller: Caller = OWNER, **properties: object) -> Image:
    """Clone the image, and look at what came of it."""
    fields = {"image_id": A, "image_properties": properties}
    task = await site.node().do_task("clone", fields, caller)
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    assert task.image_id == A
    return await site.image(str(task.result["image_id"]))


async def test_a_clone_is_like_its_source(site: Site) -> None:
    """But for whose it is, who sees it, and what its maker wants otherwise."""
    source = await site.active(A)
    describe: dict[str, Any] = {"name": "n", "min_ram_mib": 7, "min_disk_gib": 3, "tags": ("t",)}
    more: dict[str, Any] = {"protected": True, "visibility": Visibility.PUBLIC}
    more["properties"] = {"a": "1", "b": "2"}
    source = await site.change(A, lambda image: replace(image, **describe, **more))

    clone = await cloned(site, BOB, b="3", c="4")
    other = await cloned(site, name=None, min_ram=1, min_disk=0, tags=["u"])

    assert (clone.owner, clone.status, clone.draft) == ("p2", Status.ACTIVE, False)
    assert (clone.content, clone.locations) == (source.content, source.locations)
    assert (clone.name, clone.min_ram_mib, clone.min_disk_gib, clone.tags) == ("n", 7, 3, ("t",))
    assert (clone.protected, clone.visibility) == (False, Visibility.SHARED)
    assert clone.properties == {"a": "1", "b": "3", "c": "4"}
    assert (other.name, other.min_ram_mib, other.min_disk_gib, other.tags) == (None, 1, 0, ("u",))
    assert clone.created_at == clone.updated_at
    site.audit()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"image_id": A}, TaskStatus.SUCCESS),
        ({"image_id": A, "store": "near"}, TaskStatus.SUCCESS),
        ({"image_id": A, "store": "far"}, TaskStatus.PENDING),
        ({"source_image_url": URL}, TaskStatus.PENDING),
    ],
)
async def test_what_moves_no_bytes_is_done_by_who_accepts_it(
    site: Site, fields: dict[str, object], status: TaskStatus
) -> None:
    """All else waits for a worker."""
    await site.active(A)
    node = site.node(web=web_of())
    site.start(node.runner.attend())
    await anyio.sleep(1)

    task = await node.desk.create(OWNER, "clone", fields)
    await anyio.sleep(1)

    assert (await site.catalog.get_task(task.id)).status is status


async def test_a_clone_costs_no_bytes(site: Site) -> None:
    """But its owner pays for them; and each is whole without the other."""
    await site.active(A)
    clone = await cloned(site, ADMIN, owner="p2")
    assert len(site.keys) == 1
    assert (await site.catalog.get_account("p2")).used_bytes == len(BODY)

    await site.node().delete(A, delayed=False)
    await site.settle()
    assert (await site.image(clone.id)).status is Status.ACTIVE
    assert site.near.blobs[clone.locations[0].key] == BODY

    await site.node().delete(clone.id, delayed=False)
    await site.settle()
    assert not site.keys
    assert not site.catalog.blobs


async def test_where_there_is_no_room_no_clone_is(site: Site) -> None:
    """The draft never was anybody's image."""
    await site.active(A)
    await site.catalog.set_limit("p1", len(BODY))

    task = await site.node().do_task("clone", {"image_id": A}, OWNER)

    assert task.message == "The quota of the project p1 is used up."
    (draft,) = [image for image in site.catalog.images.values() if image.id != A]
    assert (draft.status, draft.draft) == (Status.DELETED, True)
    site.audit()


async def test_a_source_that_goes_meanwhile(site: Site) -> None:
    """Gone before the attempt, or between its looks: the ledger refuses."""
    await site.active(A)
    node = site.node()
    early = await node.desk.create(OWNER, "clone", {"image_id": A})
    await site.change(A, delete(delayed=True))
    await node.run_tasks()
    assert (await site.catalog.get_task(early.id)).message == f"There is no image {A}."

    await node.restore(A)
    task = await node.desk.create(OWNER, "clone", {"image_id": A})

    async def gone(*_: object) -> None:
        await site.change(A, delete(delayed=False))

    modify = nth(site.catalog.modify_image, 2, before=gone)
    await site.node("late", catalog=detour(site.catalog, modify_image=modify)).run_tasks()
    late = await site.catalog.get_task(task.id)
    assert late.message == "The data of the image is being deleted."
    site.audit()


@pytest.mark.parametrize("number", [1, 2])
async def test_a_worker_that_dies_before_or_after_its_commit(site: Site, number: int) -> None:
    """One clone in the end, never two, and never half of one."""
    await site.active(A)
    node = site.node()
    task = await node.desk.create(OWNER, "clone", {"image_id": A})
    before = nth(site.catalog.modify_image, number, before=catalog_fails)
    after = nth(site.catalog.modify_image, number, after=catalog_fails)
    for modify in (before, after):
        deaf = detour(site.catalog, modify_image=modify)
        await Node("dying", deaf, site.stores()).run_tasks()
        await site.settle(2 * LEASE.total_seconds())
    await node.run_tasks()

    assert (await site.catalog.get_task(task.id)).status is TaskStatus.SUCCESS
    active = [image for image in site.catalog.images.values() if image.status is Status.ACTIVE]
    assert len(active) == 2
    site.audit()


async def test_what_is_refused_at_once(site: Site) -> None:
    """Nothing is stored of it."""
    await site.queued(A)
    node = site.node()
    with pytest.raises(InvalidTransition):
        await node.desk.create(OWNER, "clone", {"image_id": A})
    await node.upload(A)
    with pytest.raises(ImageNotFound):
        await node.desk.create(BOB, "clone", {"image_id": A})
    for name in ("disk_format", "container_format"):
        fields = {"image_id": A, "image_properties": {name: "ova"}}
        with pytest.raises(InvalidInput, match=name):
            await node.desk.create(OWNER, "clone", fields)
    many = {f"theirs{number}": "" for number in range(MAX_PROPERTIES)}
    await site.change(A, lambda image: replace(image, properties=many))
    more = {"image_id": A, "image_properties": {"ours": ""}}
    with pytest.raises(TooMany):
        await node.desk.create(OWNER, "clone", more)
    await cloned(site, disk_format="raw")
    await site.change(A, deactivate)
    with pytest.raises(DataForbidden):
        await node.desk.create(OWNER, "clone", {"image_id": A})

    assert len(site.catalog.tasks) == 1
