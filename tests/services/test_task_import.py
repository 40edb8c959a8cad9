"""Imports from the web on virtual time: workers that die, quotas, and being cancelled."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from imaged.conversion.scratch import DiskScratch, ScratchSettings
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.task import Task, TaskStatus
from imaged.inspectors.oslo import OsloInspector
from imaged.lanes import InlineLane
from imaged.services.tasks.conversion import Conversion
from imaged.services.tasks.examination import Examiner
from imaged.services.tasks.image_from_web import ImageFromWeb
from support.converting import ReadyConverter
from support.node import LEASE, OWNER, Node
from support.site import Site
from support.virtual_time import elapsed
from support.web import MemoryWeb

pytestmark = pytest.mark.anyio

URL = "http://images.example/disk"
PAGE = b"what a disk has, from beginning to end"
FIELDS = {"import_from": URL, "import_from_format": "raw"}


@pytest.fixture
def web() -> MemoryWeb:
    """A slow one."""
    return MemoryWeb({URL: PAGE}, every=5)


def node_on(site: Site, web: MemoryWeb, name: str = "n", *, beats: bool = True) -> Node:
    """A process that imports; none of these images is converted."""
    examiner = Examiner(lambda: 10**6, lanes=InlineLane)
    scratch = DiskScratch(ScratchSettings(Path("there is none")))
    conversion = Conversion(scratch, ReadyConverter(), OsloInspector, examiner)
    return site.node(name, beats=beats, types=[ImageFromWeb(web, conversion, examiner)])


async def ask(node: Node) -> Task:
    """Ask for an import."""
    return await node.desk.create(OWNER, "import", FIELDS)


def image_in(site: Site) -> Image:
    """The one image that there is."""
    (image,) = site.catalog.images.values()
    return image


async def nothing_is_left(site: Site) -> None:
    """Neither bytes nor what was reserved for them, nor an image that anybody saw."""
    await site.settle()
    assert not site.keys
    assert not site.catalog.blobs
    assert (await site.catalog.get_account("p1")).used_bytes == 0
    assert image_in(site).status is Status.DELETED


async def test_its_bytes_are_reserved_and_nobody_sees_it(site: Site, web: MemoryWeb) -> None:
    """From before the first one, in the name of who asked."""
    node = node_on(site, web)
    task = await ask(node)
    site.start(node.run_tasks())
    await anyio.sleep(7)

    image, shown = image_in(site), await node.desk.show(OWNER, task.id)
    assert (image.draft, image.status) == (True, Status.IMPORTING)
    assert (await site.catalog.get_account("p1")).used_bytes == len(PAGE)
    assert shown.image_id is None
    assert shown.progress is not None
    assert (shown.progress.phase, shown.progress.total_bytes) == ("fetching", len(PAGE))

    await anyio.sleep(100)
    assert (image_in(site).draft, image_in(site).status) == (False, Status.ACTIVE)
    assert (await node.desk.show(OWNER, task.id)).image_id == image.id
    site.audit()


async def test_another_worker_begins_again(site: Site, web: MemoryWeb) -> None:
    """The first one hung in the middle of its fetch; there is one image in the end."""
    web.every = 1000
    silent = node_on(site, web, "silent", beats=False)
    task = await ask(silent)
    site.start(silent.run_tasks()).ignore()
    await anyio.sleep(1)
    await site.settle(2 * LEASE.total_seconds())
    web.every = 0

    assert await node_on(site, web, "other").run_tasks() == 1
    done = await site.catalog.get_task(task.id)
    await anyio.sleep(10_000)  # the first one wakes up

    assert (done.status, done.attempts) == (TaskStatus.SUCCESS, 2)
    assert [url for url, _ in web.asked] == [URL, URL]
    image = image_in(site)
    assert image.status is Status.ACTIVE
    await site.settle()
    assert site.keys == {location.key for location in image.locations}
    assert site.near.blobs[image.locations[0].key] == PAGE


@pytest.mark.parametrize("says_size", [False, True])
async def test_a_quota_that_is_used_up(site: Site, web: MemoryWeb, says_size: bool) -> None:
    """The sentence is that of uploads, and nothing is left."""
    web.says_size = says_size
    await site.catalog.set_limit("p1", len(PAGE) - 1)
    node = node_on(site, web)

    task = await node.do_task("import", FIELDS, OWNER)

    assert task.status is TaskStatus.FAILURE
    assert task.message == "The quota of the project p1 is used up."
    await nothing_is_left(site)


async def test_an_import_that_is_cancelled(site: Site, web: MemoryWeb) -> None:
    """Here it stops at once, in the middle of a wait for the other side."""
    web.every = 1000
    node = node_on(site, web)
    task = await ask(node)
    working = site.start(node.run_tasks())
    await anyio.sleep(1)
    before = elapsed()

    await node.desk.cancel(OWNER, task.id)

    assert await working.outcome() == 0
    assert elapsed() == before
    await nothing_is_left(site)
