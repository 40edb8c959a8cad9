"""Imports from the web on virtual time: workers that die, quotas, and being cancelled."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from imaged.conversion.scratch import LocalScratch, ScratchSettings
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.task import Task, TaskStatus
from imaged.inspectors.oslo_inspector import OsloInspector
from imaged.lanes import InlineLane
from imaged.services.tasks.context import StreamCheckFactory
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.types.import_task import ImportTask
from support.callers import OWNER
from support.cluster import Cluster
from support.fake_converter import FakeConverter
from support.memory_fetcher import MemoryFetcher
from support.node import LEASE, Node
from support.quotas import limit_total, used_bytes
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

URL = "http://images.example/disk"
PAGE = b"what a disk has, from beginning to end"
FIELDS = {"import_from": URL, "import_from_format": "raw"}


@pytest.fixture
def web() -> MemoryFetcher:
    """A slow one."""
    return MemoryFetcher({URL: PAGE}, every=5)


def node_on(cluster: Cluster, web: MemoryFetcher, name: str = "n", *, beats: bool = True) -> Node:
    """A process that imports; none of these images is converted."""
    check_factory = StreamCheckFactory(lambda: 10**6, lanes=InlineLane)
    scratch = LocalScratch(ScratchSettings(Path("there is none"), 0))
    conversion = ImageConverter(scratch, FakeConverter(), OsloInspector, check_factory)
    return cluster.node(name, beats=beats, types=[ImportTask(web, conversion, check_factory)])


async def ask(node: Node) -> Task:
    """Ask for an import."""
    return await node.task_service.create(OWNER, "import", FIELDS)


def image_in(cluster: Cluster) -> Image:
    """The one image that there is."""
    (image,) = cluster.catalog.images.values()
    return image


async def nothing_is_left(cluster: Cluster) -> None:
    """Neither bytes nor what was reserved for them, nor an image that a caller could see."""
    await cluster.settle()
    assert not cluster.keys
    assert not cluster.catalog.blobs
    assert await used_bytes(cluster.catalog, "p1") == 0
    assert image_in(cluster).status is Status.DELETED


async def test_its_bytes_are_reserved_and_it_is_invisible(
    cluster: Cluster, web: MemoryFetcher
) -> None:
    """From before the first one, for the caller's project."""
    node = node_on(cluster, web)
    task = await ask(node)
    cluster.start(node.run_tasks())
    await anyio.sleep(7)

    image, shown = image_in(cluster), await node.task_service.show(OWNER, task.id)
    assert (image.draft, image.status) == (True, Status.IMPORTING)
    assert await used_bytes(cluster.catalog, "p1") == len(PAGE)
    assert shown.image_id is None
    assert shown.progress is not None
    assert (shown.progress.phase, shown.progress.total_bytes) == ("fetching", len(PAGE))

    await anyio.sleep(100)
    assert (image_in(cluster).draft, image_in(cluster).status) == (False, Status.ACTIVE)
    assert (await node.task_service.show(OWNER, task.id)).image_id == image.id
    cluster.audit()


async def test_another_worker_begins_again(cluster: Cluster, web: MemoryFetcher) -> None:
    """The first one hung in the middle of its fetch; there is one image in the end."""
    web.every = 1000
    silent = node_on(cluster, web, "silent", beats=False)
    task = await ask(silent)
    cluster.start(silent.run_tasks()).ignore()
    await anyio.sleep(1)
    await cluster.settle(2 * LEASE.total_seconds())
    web.every = 0

    assert await node_on(cluster, web, "other").run_tasks() == 1
    done = await cluster.catalog.get_task(task.id)
    await anyio.sleep(10_000)  # the first one wakes up

    assert (done.status, done.attempts) == (TaskStatus.SUCCESS, 2)
    assert [url for url, _ in web.asked] == [URL, URL]
    image = image_in(cluster)
    assert image.status is Status.ACTIVE
    await cluster.settle()
    assert cluster.keys == {location.key for location in image.locations}
    assert cluster.near.blobs[image.locations[0].key] == PAGE


@pytest.mark.parametrize("says_size", [False, True])
async def test_a_quota_that_is_used_up(
    cluster: Cluster, web: MemoryFetcher, says_size: bool
) -> None:
    """The sentence is that of uploads, and nothing is left."""
    web.says_size = says_size
    await limit_total(cluster.catalog, "p1", len(PAGE) - 1)
    node = node_on(cluster, web)
    task = await node.do_task("import", FIELDS, OWNER)
    assert task.status is TaskStatus.FAILURE
    assert "The project p1 has a limit 'total' of" in str(task.message)
    await nothing_is_left(cluster)


async def test_an_import_that_is_cancelled(cluster: Cluster, web: MemoryFetcher) -> None:
    """Here it stops at once, in the middle of a wait for the other side."""
    web.every = 1000
    node = node_on(cluster, web)
    task = await ask(node)
    working = cluster.start(node.run_tasks())
    await anyio.sleep(1)
    before = elapsed()

    await node.task_service.cancel(OWNER, task.id)

    assert await working.outcome() == 0
    assert elapsed() == before
    await nothing_is_left(cluster)
