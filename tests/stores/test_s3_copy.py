"""Clones between stores at one S3 endpoint: the server copies all bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contracts.store_bodies import read_all, some_bytes
from contracts.store_bucket import opened, settings_for
from imaged.core.block import TransferBudget
from imaged.core.image import Image
from imaged.core.limits import MIB
from imaged.core.task import Task, TaskStatus
from imaged.ports.store import Store, Stores
from imaged.stores.s3.settings import S3Tuning
from imaged.stores.s3.store import S3Store
from imaged.testing.memory_catalog import MemoryCatalog
from support.bodies import cut
from support.callers import OWNER
from support.fault_proxy import Fault, FaultProxy, fail
from support.node import A, Node
from support.seaweedfs import SeaweedFS, plain_client
from support.service import UtcClock
from support.waiting import SHORT_PAUSES

pytestmark = pytest.mark.asyncio

CARRYING = {"get_object", "put_object", "upload_part"}  # calls with bytes of a blob in them
PART = 5 * MIB
TUNING = S3Tuning(pauses=SHORT_PAUSES, copy_piece_bytes=PART)


class Bench:
    """A node with two stores in one bucket."""

    def __init__(self, near: Store, far: Store, proxy: FaultProxy) -> None:
        self.catalog = MemoryCatalog(UtcClock())
        self.near = near
        self.far = far
        self._proxy = proxy
        stores = Stores("near", {"near": near, "far": far})
        self.node = Node("n", self.catalog, stores, budget=TransferBudget(64 * MIB))

    async def add(self, data: bytes) -> Image:
        """An image with these bytes."""
        image = Image(id=A, owner="p1", disk_format="raw", container_format="bare")
        await self.catalog.add_image(image)
        return await self.node.upload(A, cut(data, 256 * 1024))

    async def clone(self) -> tuple[Task, list[str]]:
        """Clone it into the other store; returns the task and the calls to S3."""
        self._proxy.calls.clear()
        task = await self.node.do_task("clone", {"image_id": A, "store": "far"}, OWNER)
        return task, list(self._proxy.calls)


@pytest_asyncio.fixture
async def bench(proxy: FaultProxy) -> AsyncIterator[Bench]:
    """A node with its stores."""
    async with (
        opened(settings_for(proxy.endpoint, tuning=TUNING), "near") as near,
        opened(settings_for(proxy.endpoint, tuning=TUNING), "far") as far,
    ):
        yield Bench(near, far, proxy)


@pytest.mark.parametrize(
    ("size_bytes", "call"), [(3000, "copy_object"), (2 * PART + 1, "upload_part_copy")]
)
async def test_the_server_copies(bench: Bench, size_bytes: int, call: str) -> None:
    """No call contains bytes of the image, in either direction."""
    data = some_bytes(size_bytes)
    source = await bench.add(data)

    task, calls = await bench.clone()

    assert task.status is TaskStatus.SUCCESS, task.message
    assert call in calls
    assert not CARRYING & set(calls)
    assert task.result is not None
    clone = await bench.catalog.get_image(str(task.result["image_id"]))
    assert clone.content == source.content
    (place,) = clone.locations
    await bench.node.delete(A, delayed=False)
    await bench.node.scrubber.run_due()
    assert await read_all(bench.far, place.key) == data


async def test_the_server_copies_damage(bench: Bench, s3: SeaweedFS) -> None:
    """The ETag of the copy is compared, and then the copy: no image is made of it."""
    data = some_bytes(3000)
    (location,) = (await bench.add(data)).locations
    near = bench.near
    assert isinstance(near, S3Store)
    client = plain_client(s3.endpoint)
    where = {"Bucket": near.settings.bucket, "Key": near.settings.root + location.key}
    client.put_object(**where, Body=data[:-1] + bytes([data[-1] ^ 1]))
    client.close()

    task, calls = await bench.clone()

    assert task.status is TaskStatus.FAILURE
    assert "is damaged. In the store 'far'" in (task.message or "")
    assert "copy_object" in calls
    assert not [image for image in bench.catalog.images.values() if image.content and image.id != A]


async def test_the_write_is_known_before_it_begins(bench: Bench, proxy: FaultProxy) -> None:
    """When a copy breaks off, its upload is in the ledger, so that it can be aborted.

    The scrubber aborts it by this id, and nothing is left.
    """
    await bench.add(some_bytes(2 * PART + 1))
    proxy.plan = fail("upload_part_copy", 0, Fault.DENIED, for_ever=True)

    task, _ = await bench.clone()

    assert task.status is TaskStatus.FAILURE
    doomed = await bench.catalog.list_doomed(9)
    assert [blob.upload_id is not None for blob in doomed] == [True]
    await bench.node.scrubber.run_due()
    assert [key async for key in bench.far.list_keys()] == []
