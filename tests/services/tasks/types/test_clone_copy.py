"""Clones in another store: copied by the stores, or through here; whole, or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from imaged.core.access import Caller
from imaged.core.deletion import deactivate, delete
from imaged.core.errors import BlobMissing, DataForbidden, ImageNotFound, StoreError
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.task import Task, TaskStatus
from imaged.ports.store import RecordUploadId, Store, Stores, ignore_upload_id
from imaged.testing.memory_store import MemoryStore
from support.bodies import BODY
from support.callers import ADMIN, OWNER, STRANGER
from support.cluster import Cluster
from support.faults import nth, override_calls
from support.node import A, Node
from support.quotas import limit_total, used_bytes

pytestmark = pytest.mark.anyio


class CopyingStore(MemoryStore):
    """One that copies by itself, from others in memory. ``lost_bytes`` are left out at the end."""

    lost_bytes = 0
    copies = 0
    told = ""

    def can_copy_from(self, source: Store) -> bool:
        """From all of its kind."""
        return isinstance(source, MemoryStore)

    async def copy_from(
        self, source: Store, source_key: str, key: str, record: RecordUploadId = ignore_upload_id
    ) -> int:
        """Copy. Raises BlobMissing."""
        assert isinstance(source, MemoryStore)
        await record("copy")
        if source_key not in source.blobs:
            raise BlobMissing(source.name, source_key)
        data = source.blobs[source_key]
        self.blobs[key] = data[: len(data) - self.lost_bytes]
        self.copies += 1
        return len(self.blobs[key])

    async def stored_md5(self, key: str) -> str | None:
        """Of what is there; or what ``told`` says."""
        return self.told or hashlib.md5(self.blobs[key], usedforsecurity=False).hexdigest()


@pytest.fixture(params=["through here", "by itself"])
async def cluster(cluster: Cluster, request: pytest.FixtureRequest) -> Cluster:
    """The far store is of either kind; an image has its data in the near one."""
    if request.param == "by itself":
        cluster.far = CopyingStore("far")
    await cluster.active(A)
    return cluster


async def clone_far(cluster: Cluster, node: Node | None = None, caller: Caller = OWNER) -> Task:
    """Clone the image into the far store."""
    return await (node or cluster.node()).do_task("clone", {"image_id": A, "store": "far"}, caller)


async def clone_of(cluster: Cluster, task: Task) -> Image:
    """What the task made."""
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    return await cluster.image(str(task.result["image_id"]))


async def test_a_clone_in_another_store(cluster: Cluster) -> None:
    """Of the same bytes, known as those of the source are; each is whole without the other."""
    source = await cluster.change(A, lambda image: replace(image, name="n", tags=("t",)))

    task = await clone_far(cluster)
    clone = await clone_of(cluster, task)

    (place,) = clone.locations
    assert (place.store, place.size_bytes) == ("far", len(BODY))
    assert cluster.far.blobs == {place.key: BODY}
    assert (clone.content, clone.name, clone.tags) == (source.content, "n", ("t",))
    assert task.progress is not None
    assert (task.progress.done_bytes, task.progress.total_bytes) == (len(BODY), len(BODY))
    assert getattr(cluster.far, "copies", 1) == 1

    await cluster.node().delete(A, delayed=False)
    await cluster.settle()
    assert not cluster.near.blobs
    assert cluster.far.blobs == {place.key: BODY}


async def test_without_room(cluster: Cluster) -> None:
    """The project's, before a byte is written; nothing is left."""
    await limit_total(cluster.catalog, "p1", len(BODY))
    task = await clone_far(cluster)
    assert "The project p1 has a limit 'total' of" in str(task.message)
    await cluster.settle()
    assert not cluster.far.blobs
    assert await used_bytes(cluster.catalog, "p1") == len(BODY)


async def test_a_deactivated_source(cluster: Cluster) -> None:
    """Is only copied for an admin; also if that came between the call and the work."""
    node = cluster.node()
    fields = {"image_id": A, "store": "far"}
    early = await node.task_service.create(OWNER, "clone", fields)
    await cluster.change(A, deactivate)
    with pytest.raises(DataForbidden):
        await node.task_service.create(OWNER, "clone", fields)
    with pytest.raises(ImageNotFound):
        await node.task_service.create(STRANGER, "clone", fields)

    task = await clone_far(cluster, node, ADMIN)

    assert (await clone_of(cluster, task)).owner == "p0"
    assert "deactivated" in ((await cluster.catalog.get_task(early.id)).message or "")
    cluster.audit()


async def test_a_source_that_goes_while_it_is_copied(cluster: Cluster) -> None:
    """Its owner is told that it went, and not that a store has lost something; unless its bytes
    are being read already: then they are read to their end.
    """

    async def gone(*_: object) -> None:
        await cluster.change(A, delete(delayed=False))
        cluster.near.blobs.clear()

    modify = nth(cluster.catalog.modify_image, 2, after=gone)  # its place is reserved
    task = await clone_far(
        cluster, cluster.node("late", catalog=override_calls(cluster.catalog, modify_image=modify))
    )

    if isinstance(cluster.far, CopyingStore):
        assert task.message == f"There is no image {A}."
    else:
        assert (await clone_of(cluster, task)).status is Status.ACTIVE
    await cluster.settle()
    assert len(cluster.keys) == (task.status is TaskStatus.SUCCESS)


async def test_the_copy_is_verified_when_it_is_read(cluster: Cluster) -> None:
    """Its blocks have checksums, whether imaged or the store copied them."""
    source = await cluster.image(A)
    clone = await clone_of(cluster, await clone_far(cluster))
    checksums = cluster.catalog.block_checksums
    assert checksums[clone.locations[0].key] == checksums[source.locations[0].key] != b""


@pytest.mark.parametrize("cluster", ["by itself"], indirect=True)
@pytest.mark.parametrize("is_damaged", [False, True])
async def test_a_store_that_tells_of_other_bytes(cluster: Cluster, is_damaged: bool) -> None:
    """What it tells is no proof: the copy is read, and compared with what was recorded."""
    key = (await cluster.image(A)).locations[0].key
    assert isinstance(cluster.far, CopyingStore)
    if is_damaged:
        cluster.near.blobs[key] = BODY[::-1]
    else:
        cluster.far.told = "0" * 32

    task = await clone_far(cluster)

    if is_damaged:
        assert "is damaged. In the store 'far'" in (task.message or "")
        cluster.near.blobs[key] = BODY
        await cluster.settle()
        assert not cluster.far.blobs
    else:
        assert cluster.far.blobs[(await clone_of(cluster, task)).locations[0].key] == BODY


async def test_bytes_that_are_not_those_of_the_source(cluster: Cluster) -> None:
    """A copy of damage is no clone; neither is one that ends early."""
    image = await cluster.image(A)
    key = image.locations[0].key
    if isinstance(cluster.far, CopyingStore):
        assert image.content is not None
        cluster.far.lost_bytes, cluster.far.told = 1, image.content.checksum or ""
    else:
        cluster.near.blobs[key] = BODY[::-1]

    task = await clone_far(cluster)

    assert task.status is TaskStatus.FAILURE
    assert any(word in (task.message or "") for word in ("is damaged", "does not work"))
    cluster.near.blobs[key] = BODY
    await cluster.settle()
    assert not cluster.far.blobs


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_worker_that_dies_at_each_of_its_steps(cluster: Cluster, number: int) -> None:
    """One clone in the end, never two; and of what the dead one wrote nothing is left."""
    node = cluster.node()
    asked = await node.task_service.create(OWNER, "clone", {"image_id": A, "store": "far"})
    await cluster.run_tasks_after_deaths(node, number)
    clone = await clone_of(cluster, await cluster.catalog.get_task(asked.id))
    assert clone.status is Status.ACTIVE
    await cluster.settle()
    assert len(cluster.keys) == 2


async def test_a_store_that_is_no_longer_there(cluster: Cluster) -> None:
    """A clone that was asked for before is a failure that says so; one beside it shares."""
    asked = await cluster.node().task_service.create(
        OWNER, "clone", {"image_id": A, "store": "far"}
    )
    await Node("later", cluster.catalog, Stores("near", {"near": cluster.near})).run_tasks()
    task = await cluster.catalog.get_task(asked.id)
    assert task.message == "There is no store named 'far'."


async def test_a_store_that_fails(cluster: Cluster) -> None:
    """While the source is there still: the store is the reason."""
    source = await cluster.image(A)
    del cluster.near.blobs[source.locations[0].key]
    task = await clone_far(cluster)
    assert task.message == StoreError("near", "").for_clients
