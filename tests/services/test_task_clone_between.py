"""Clones in another store: copied by the stores, or through here; whole, or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from imaged.core.access import Caller
from imaged.core.errors import BlobMissing, DataForbidden, ImageNotFound, InvalidInput, StoreError
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.removal import deactivate, delete
from imaged.core.task import Task, TaskStatus
from imaged.ports.store import Record, Store, Stores, forget_upload
from imaged.stores.memory import MemoryStore
from support.bodies import BODY
from support.faults import catalog_fails, detour, nth
from support.node import ADMIN, LEASE, OWNER, A, Node
from support.site import Site

pytestmark = pytest.mark.anyio

BOB = Caller("bob", "p2", frozenset({"member"}))


class CopyingStore(MemoryStore):
    """One that copies by itself, from others in memory. ``lost_bytes`` are left out at the end."""

    lost_bytes = 0
    copies = 0
    told = ""

    def can_copy_from(self, source: Store) -> bool:
        """From all of its kind."""
        return isinstance(source, MemoryStore)

    async def copy_from(
        self, source: Store, source_key: str, key: str, record: Record = forget_upload
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
def site(site: Site, request: pytest.FixtureRequest) -> Site:
    """The far store is of either kind."""
    if request.param == "by itself":
        site.far = CopyingStore("far")
    return site


async def clone_far(site: Site, node: Node | None = None, caller: Caller = OWNER) -> Task:
    """Clone the image into the far store."""
    return await (node or site.node()).do_task("clone", {"image_id": A, "store": "far"}, caller)


async def clone_of(site: Site, task: Task) -> Image:
    """What the task made."""
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    return await site.image(str(task.result["image_id"]))


async def test_a_clone_in_another_store(site: Site) -> None:
    """Of the same bytes, known as those of the source are; each is whole without the other."""
    await site.active(A)
    source = await site.change(A, lambda image: replace(image, name="n", tags=("t",)))

    task = await clone_far(site)
    clone = await clone_of(site, task)

    (place,) = clone.locations
    assert (place.store, place.size_bytes) == ("far", len(BODY))
    assert site.far.blobs == {place.key: BODY}
    assert (clone.content, clone.name, clone.tags) == (source.content, "n", ("t",))
    assert task.progress is not None
    assert (task.progress.done_bytes, task.progress.total_bytes) == (len(BODY), len(BODY))
    assert getattr(site.far, "copies", 1) == 1

    await site.node().delete(A, delayed=False)
    await site.settle()
    assert not site.near.blobs
    assert site.far.blobs == {place.key: BODY}


async def test_where_the_bytes_are_already_none_move(site: Site) -> None:
    """The store is named, and it is that of the source."""
    await site.active(A)

    task = await site.node().do_task("clone", {"image_id": A, "store": "near"}, OWNER)

    assert (await clone_of(site, task)).locations == (await site.image(A)).locations
    assert len(site.keys) == 1


async def test_a_store_that_there_is_not(site: Site) -> None:
    """Refused at once, and the field is named."""
    await site.active(A)
    with pytest.raises(InvalidInput, match=r"'store'.*near, far"):
        await site.node().desk.create(OWNER, "clone", {"image_id": A, "store": "mars"})
    assert not site.catalog.tasks


async def test_where_there_is_no_room(site: Site) -> None:
    """The project's, before a byte is written; nothing is left."""
    await site.active(A)
    await site.catalog.set_limit("p1", len(BODY))

    task = await clone_far(site)

    assert task.message == "The quota of the project p1 is used up."
    await site.settle()
    assert not site.far.blobs
    assert (await site.catalog.get_account("p1")).used_bytes == len(BODY)


async def test_a_deactivated_source(site: Site) -> None:
    """Is only copied for an admin; also if that came between the call and the work."""
    await site.active(A)
    node = site.node()
    fields = {"image_id": A, "store": "far"}
    early = await node.desk.create(OWNER, "clone", fields)
    await site.change(A, deactivate)
    with pytest.raises(DataForbidden):
        await node.desk.create(OWNER, "clone", fields)
    with pytest.raises(ImageNotFound):
        await node.desk.create(BOB, "clone", fields)

    task = await clone_far(site, node, ADMIN)

    assert (await clone_of(site, task)).owner == "p0"
    assert "deactivated" in ((await site.catalog.get_task(early.id)).message or "")
    site.audit()


async def test_a_source_that_goes_while_it_is_copied(site: Site) -> None:
    """Its owner is told that it went, and not that a store has lost something; unless its bytes
    are being read already: then they are read to their end.
    """
    await site.active(A)

    async def gone(*_: object) -> None:
        await site.change(A, delete(delayed=False))
        site.near.blobs.clear()

    modify = nth(site.catalog.modify_image, 2, after=gone)  # its place is reserved
    task = await clone_far(
        site, site.node("late", catalog=detour(site.catalog, modify_image=modify))
    )

    if isinstance(site.far, CopyingStore):
        assert task.message == f"There is no image {A}."
    else:
        assert (await clone_of(site, task)).status is Status.ACTIVE
    await site.settle()
    assert len(site.keys) == (task.status is TaskStatus.SUCCESS)


async def test_the_copy_is_verified_when_it_is_read(site: Site) -> None:
    """Its blocks have checksums, whoever copied them."""
    source = await site.active(A)

    clone = await clone_of(site, await clone_far(site))

    checksums = site.catalog.block_checksums
    assert checksums[clone.locations[0].key] == checksums[source.locations[0].key] != b""


@pytest.mark.parametrize("site", ["by itself"], indirect=True)
@pytest.mark.parametrize("is_damaged", [False, True])
async def test_a_store_that_tells_of_other_bytes(site: Site, is_damaged: bool) -> None:
    """What it tells is no proof: the copy is read, and compared with what was recorded."""
    key = (await site.active(A)).locations[0].key
    assert isinstance(site.far, CopyingStore)
    if is_damaged:
        site.near.blobs[key] = BODY[::-1]
    else:
        site.far.told = "0" * 32

    task = await clone_far(site)

    if is_damaged:
        assert "is damaged. In the store 'far'" in (task.message or "")
        site.near.blobs[key] = BODY
        await site.settle()
        assert not site.far.blobs
    else:
        assert site.far.blobs[(await clone_of(site, task)).locations[0].key] == BODY


async def test_bytes_that_are_not_those_of_the_source(site: Site) -> None:
    """A copy of damage is no clone; neither is one that ends early."""
    key = (await site.active(A)).locations[0].key
    if isinstance(site.far, CopyingStore):
        site.far.lost_bytes = 1
    else:
        site.near.blobs[key] = BODY[::-1]

    task = await clone_far(site)

    assert task.status is TaskStatus.FAILURE
    assert any(word in (task.message or "") for word in ("is damaged", "does not work"))
    site.near.blobs[key] = BODY
    await site.settle()
    assert not site.far.blobs


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_worker_that_dies_at_each_of_its_steps(site: Site, number: int) -> None:
    """One clone in the end, never two; and of what the dead one wrote nothing is left."""
    await site.active(A)
    node = site.node()
    asked = await node.desk.create(OWNER, "clone", {"image_id": A, "store": "far"})
    before = nth(site.catalog.modify_image, number, before=catalog_fails)
    after = nth(site.catalog.modify_image, number, after=catalog_fails)
    for modify in (before, after):
        deaf = detour(site.catalog, modify_image=modify)
        await Node("dying", deaf, site.stores()).run_tasks()
        await site.settle(2 * LEASE.total_seconds())
    await node.run_tasks()

    clone = await clone_of(site, await site.catalog.get_task(asked.id))
    assert clone.status is Status.ACTIVE
    await site.settle()
    assert len(site.keys) == 2


async def test_a_store_that_is_no_longer_there(site: Site) -> None:
    """A clone that was asked for before is a failure that says so; one beside it shares."""
    await site.active(A)
    asked = await site.node().desk.create(OWNER, "clone", {"image_id": A, "store": "far"})

    await Node("later", site.catalog, Stores("near", {"near": site.near})).run_tasks()

    task = await site.catalog.get_task(asked.id)
    assert task.message == "There is no store named 'far'."


async def test_a_store_that_fails(site: Site) -> None:
    """While the source is there still: the store is the reason."""
    source = await site.active(A)
    del site.near.blobs[source.locations[0].key]

    task = await clone_far(site)

    assert task.message == StoreError("near", "").for_clients
