"""Exporting: once, as a whole or not at all, and never over anything."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.access import Caller
from imaged.core.block import Block
from imaged.core.errors import (
    DataForbidden,
    ExportError,
    ImageNotFound,
    InvalidInput,
    InvalidTransition,
    ScratchError,
)
from imaged.core.removal import deactivate
from imaged.core.task import Task, TaskStatus
from imaged.exports.unfinished import unfinished_name
from imaged.inspectors.oslo import OsloInspector
from imaged.lanes import InlineLane
from imaged.ports.catalog import Catalog
from imaged.ports.export import Parcel
from imaged.ports.scratch import Scratch, ScratchFolder
from imaged.services.downloads import Downloads
from imaged.services.tasks.conversion import Conversion
from imaged.services.tasks.examination import Examiner
from imaged.services.tasks.export import Export
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.sweeping import Sweeper
from support.bodies import BODY
from support.converting import ReadyConverter
from support.faults import catalog_fails, detour, from_nth, hangs, nth, pause
from support.node import ADMIN, OWNER, A, B, FixedBlocks, Node
from support.records import task as record
from support.shelf import Shelf
from support.site import Site
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

BOB = Caller("bob", "p2", frozenset({"member"}))
ASKED = {"image_id": A, "export_to": "archive", "file_name": "a/b.raw"}


class NoScratch:
    """A Scratch that knows of folders, and has none."""

    def __init__(self, *attempts: UUID) -> None:
        self.left = {*attempts}
        self.error: ScratchError | None = None

    @asynccontextmanager
    async def folder(self, attempt: UUID) -> AsyncIterator[ScratchFolder]:
        """Nobody asks here."""
        raise AssertionError(attempt)
        yield

    async def attempts(self) -> set[UUID]:
        """Those that have files."""
        if self.error is not None:
            raise self.error
        return set(self.left)

    async def remove(self, attempt: UUID) -> None:
        """They have none any more."""
        self.left.discard(attempt)


def exporter(site: Site, shelf: Shelf, name: str = "n", **settings: Any) -> Node:
    """A node that exports to a shelf."""
    budget = FixedBlocks(1024)
    examiner = Examiner(lambda: 1 << 30, (), InlineLane)
    conversion = Conversion(NoScratch(), ReadyConverter(), OsloInspector, examiner)
    catalog: Catalog = settings.get("catalog") or site.catalog
    downloads = Downloads(catalog, site.stores(), budget)
    export = Export(
        catalog, downloads, conversion, {"archive": shelf}, budget=budget, lanes=InlineLane
    )
    return site.node(name, types=[export], budget=budget, **settings)


def destinations_of(node: Node) -> dict[str, Any]:
    """Where a node exports to, to be changed."""
    export: Any = node.desk.registry.get("export")
    destinations: dict[str, Any] = export.destinations
    return destinations


def sweeper(site: Site, *shelves: Shelf, scratch: Scratch | None = None) -> Sweeper:
    """What removes leftovers."""
    return Sweeper(site.catalog, scratch or NoScratch(), shelves)


async def exported(site: Site, shelf: Shelf, **changes: object) -> Task:
    """The task, done."""
    return await exporter(site, shelf).do_task("export", {**ASKED, **changes}, OWNER)


def result_of(task: Task) -> Mapping[str, object]:
    """The result of a success."""
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    return task.result


async def test_the_bytes_are_there(site: Site) -> None:
    """With their location, size and digests; the image has not changed."""
    before, shelf = await site.active(A), Shelf()

    result = result_of(await exported(site, shelf))

    assert shelf.files == {"a/b.raw": BODY}
    assert result == {
        "export_location": "memory://archive/a/b.raw",
        "size": len(BODY),
        "checksum": hashlib.md5(BODY, usedforsecurity=False).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(BODY).hexdigest(),
    }
    assert await site.image(A) == before
    site.audit()


@pytest.mark.parametrize("export_format", ["", "raw"])
async def test_the_default_name(site: Site, export_format: str) -> None:
    """The image's id and its format; a format that it has already is no conversion."""
    await site.active(A)
    shelf = Shelf()

    await exported(site, shelf, file_name="", export_format=export_format)

    assert shelf.files == {f"{A}.raw": BODY}


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"export_to": "nowhere"}, "export_to", "there is archive"),
        ({"file_name": "../x"}, "file_name", 'begins with "."'),
        ({"file_name": "/etc/passwd"}, "file_name", "absolute"),
        ({"file_name": "taken.raw"}, "file_name", "there is a file of this name already"),
        ({"export_format": "floppy"}, "export_format", "must be one of"),
        ({"export_format": "iso"}, "export_format", "cannot be had"),
        ({"image_id": B, "export_format": "qcow2"}, "export_format", "in a container (ova)"),
        ({"image_id": "x"}, "image_id", "is not what it should be"),
        ({"colour": "blue"}, "colour", "is not known"),
    ],
)
async def test_what_is_refused_at_once(
    site: Site, changes: dict[str, str], field: str, why: str
) -> None:
    """By the name of the field."""
    await site.active(A)
    await site.queued(B, container_format="ova")
    await Node("maker", site.catalog, site.stores()).upload(B)
    node = exporter(site, Shelf(files={"taken.raw": b"theirs"}))

    with pytest.raises(InvalidInput) as refused:
        await node.desk.create(OWNER, "export", {**ASKED, **changes})

    assert refused.value.name == field
    assert why in str(refused.value)


async def test_who_may_ask(site: Site) -> None:
    """Whoever may download: nobody else, and only admins where it is deactivated."""
    await site.queued(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    with pytest.raises(InvalidTransition):
        await node.desk.create(OWNER, "export", ASKED)
    await node.upload(A)
    with pytest.raises(ImageNotFound):
        await node.desk.create(BOB, "export", ASKED)
    await site.change(A, deactivate)
    with pytest.raises(DataForbidden):
        await node.desk.create(OWNER, "export", ASKED)

    assert result_of(await node.do_task("export", ASKED, ADMIN))["size"] == len(BODY)


async def test_rights_are_looked_at_again(site: Site) -> None:
    """When the work begins, the image may be deactivated."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    task = await node.desk.create(OWNER, "export", ASKED)
    await site.change(A, deactivate)

    assert await node.run_tasks() == 0

    message = (await site.catalog.get_task(task.id)).message
    assert message is not None
    assert "deactivated" in message
    assert not shelf.files


async def test_several_run_side_by_side(site: Site) -> None:
    """On one image; of two with the same name, one says why not."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf, tasks=RunnerSettings(at_one_place=4))
    for name in ("one", "two", "three", "three"):
        await node.desk.create(OWNER, "export", {**ASKED, "file_name": name})

    assert await node.run_tasks() == 3

    assert shelf.files == {"one": BODY, "two": BODY, "three": BODY}
    tasks = await node.desk.list_of_image(OWNER, A)
    (failed,) = [task for task in tasks if task.status is TaskStatus.FAILURE]
    assert failed.message is not None
    assert "There is a file of this name already: three" in failed.message
    assert node.budget.free_bytes == node.budget.total_bytes


async def test_damaged_bytes_are_not_exported(site: Site) -> None:
    """They are told, marked, and visible nowhere."""
    image = await site.active(A)
    site.near.blobs[image.locations[0].key] = b"X" + BODY[1:]
    shelf = Shelf()

    with capture_logs() as lines:
        task = await exported(site, shelf)

    assert task.message is not None
    assert "is damaged" in task.message
    assert not shelf.files
    assert not shelf.unfinished
    assert "image.damaged" in {line["event"] for line in lines}
    assert (await site.image(A)).damage is not None


async def test_a_destination_that_is_down(site: Site) -> None:
    """The owner learns which, and not why."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    task = await node.desk.create(OWNER, "export", ASKED)
    shelf.error = ExportError("archive", "cannot use /srv/secret")

    await node.run_tasks()

    message = (await site.catalog.get_task(task.id)).message
    assert message is not None
    assert "'archive' does not work at the moment" in message
    assert "secret" not in message


async def test_a_destination_that_is_slow_keeps_no_request_waiting(site: Site) -> None:
    """The task will see what is there."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    export: Any = node.desk.registry.get("export")
    export.destinations["archive"] = detour(shelf, has=hangs)

    task = await node.desk.create(OWNER, "export", ASKED)

    assert elapsed() <= 5
    await node.run_tasks()
    assert result_of(await site.catalog.get_task(task.id))["size"] == len(BODY)


async def test_a_destination_that_is_no_longer_configured(site: Site) -> None:
    """The task was accepted before."""
    await site.active(A)
    task = await exporter(site, Shelf()).desk.create(OWNER, "export", ASKED)
    node = exporter(site, Shelf(), "later")
    export: Any = node.desk.registry.get("export")
    export.destinations.clear()

    await node.run_tasks()

    message = (await site.catalog.get_task(task.id)).message
    assert message is not None
    assert "export_to" in message


async def test_a_worker_that_dies_after_it_delivered(site: Site) -> None:
    """The next one knows the file, and does not export twice."""
    await site.active(A)
    shelf = Shelf()
    modify = from_nth(site.catalog.modify_task, 2, catalog_fails)  # all but the claim
    dying = exporter(site, shelf, "dying", catalog=detour(site.catalog, modify_task=modify))
    task = await dying.desk.create(OWNER, "export", ASKED)
    await dying.run_tasks()
    assert shelf.files == {"a/b.raw": BODY}
    await anyio.sleep(200)

    node = exporter(site, shelf, "next")
    await node.reclaimer.run_due()
    with capture_logs() as lines:
        await node.run_tasks()

    again = await site.catalog.get_task(task.id)
    assert result_of(again)["checksum"] == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert again.attempts == 2
    phases = [line["phase"] for line in lines if line["event"] == "task.phase_began"]
    assert phases == ["reading back", "published"]


@pytest.mark.parametrize("left", [b"X" + BODY[1:], BODY[:-1]])
async def test_what_a_dead_worker_delivered_is_compared(site: Site, left: bytes) -> None:
    """It is no success where the file is not the image, whatever happened to it since."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    task = await node.desk.create(OWNER, "export", ASKED)
    shelf.files["a/b.raw"], shelf.makers["a/b.raw"] = left, task.id

    await node.run_tasks()

    ended = await site.catalog.get_task(task.id)
    assert ended.status is TaskStatus.FAILURE
    assert ended.message == (
        "An attempt before this one delivered the file a/b.raw, and it is not the image any more. "
        "Remove it from the export destination 'archive', or choose another file_name, and ask for "
        "the export again."
    )
    assert shelf.files == {"a/b.raw": left}
    assert (await site.image(A)).damage is None


async def test_a_worker_that_dies_in_the_middle(site: Site) -> None:
    """What it left goes when the next one begins."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    task = await node.desk.create(OWNER, "export", ASKED)
    shelf.unfinished[unfinished_name(Parcel(task.id, uuid4(), "a/b.raw"))] = b"half"

    await node.run_tasks()
    assert [*shelf.unfinished.values()] == [BODY]  # a second name of the file, and nothing else
    await sweeper(site, shelf).run_due()

    assert shelf.files == {"a/b.raw": BODY}
    assert not shelf.unfinished


async def test_one_that_was_taken_for_dead_delivers_first(site: Site) -> None:
    """Then the file is there, and it is the task's: that is a success."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    task = await node.desk.create(OWNER, "export", ASKED)

    async def zombie(*_: object) -> None:
        shelf.files["a/b.raw"], shelf.makers["a/b.raw"] = BODY, task.id

    export: Any = node.desk.registry.get("export")
    export.destinations["archive"] = detour(shelf, deliver=nth(shelf.deliver, 1, before=zombie))

    await node.run_tasks()

    assert result_of(await site.catalog.get_task(task.id))["size"] == len(BODY)


async def test_being_cancelled_leaves_nothing(site: Site) -> None:
    """In the middle of it."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    destinations_of(node)["archive"] = detour(shelf, deliver=hangs)
    task = await node.desk.create(OWNER, "export", ASKED)
    running = site.start(node.run_tasks())
    await anyio.sleep(5)

    await node.desk.cancel(OWNER, task.id)
    await running.outcome()

    ended = await site.catalog.get_task(task.id)
    assert ended.status is TaskStatus.FAILURE
    assert ended.message == "It was cancelled by ann."
    assert not shelf.files


# the sweeper


async def test_leftovers_of_tasks_that_have_ended_go(site: Site) -> None:
    """And of tasks that nobody remembers; those of others stay."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    ended = await node.do_task("export", {**ASKED, "file_name": "first"}, OWNER)
    waiting = await node.desk.create(OWNER, "export", ASKED)
    names = [
        unfinished_name(Parcel(task_id, uuid4(), "x"))
        for task_id in (ended.id, waiting.id, str(uuid4()))
    ]
    shelf.unfinished |= dict.fromkeys(names, b"half")

    await sweeper(site, shelf).run_due()

    assert {*shelf.unfinished} == {names[1]}
    assert {*shelf.files} == {"first"}


async def test_scratch_of_attempts_that_stand_stays(site: Site) -> None:
    """All other goes."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    export: Any = node.desk.registry.get("export")
    slow = nth(shelf.deliver, 1, before=pause(20))
    export.destinations["archive"] = detour(shelf, deliver=slow)
    await node.desk.create(OWNER, "export", ASKED)
    running = site.start(node.run_tasks())
    await anyio.sleep(5)
    (standing,) = await site.catalog.list_attempts()
    scratch = NoScratch(standing, uuid4(), uuid4())

    await sweeper(site, scratch=scratch).run_due()
    assert scratch.left == {standing}
    await running.outcome()
    await sweeper(site, scratch=scratch).run_due()

    assert not scratch.left


async def test_trouble_in_one_place_holds_up_no_other(site: Site) -> None:
    """It is told once, until it changes."""
    down, up, scratch = Shelf("down"), Shelf("up"), NoScratch()
    down.error, scratch.error = ExportError("down", "is down"), ScratchError("/x", "gone")
    up.unfinished[unfinished_name(Parcel(str(uuid4()), uuid4(), "x"))] = b"half"
    both = sweeper(site, down, up, scratch=scratch)

    with capture_logs() as lines:
        await both.run_due()
        await both.run_due()
        down.error = ExportError("down", "is on fire")
        await both.run_due()

    assert not up.unfinished
    told = [line["place"] for line in lines if line["event"] == "sweep.failed"]
    assert told == ["scratch", "exports.down", "exports.down"]


# destinations that hang


async def test_a_destination_that_hangs_stops_nobody_else(site: Site) -> None:
    """Four exports to it: a verification and an export elsewhere are done meanwhile."""
    await site.active(A)
    frozen, archive = Shelf("frozen"), Shelf()
    node = exporter(site, archive, tasks=RunnerSettings(concurrency=2))
    destinations_of(node)["frozen"] = detour(frozen, deliver=hangs)
    for number in range(4):
        asked = {**ASKED, "export_to": "frozen", "file_name": str(number)}
        await node.desk.create(OWNER, "export", asked)
    site.start(node.runner.serve()).ignore()
    await anyio.sleep(1)
    others = [
        await node.desk.create(OWNER, "export", {**ASKED, "export_to": "archive"}),
        await node.desk.create(OWNER, "verify", {"image_id": A}),
    ]
    await anyio.sleep(10)

    for task in others:
        assert (await site.catalog.get_task(task.id)).status is TaskStatus.SUCCESS
    assert len(node.runner.running) == 2


async def test_an_attempt_that_stalls_ends_and_is_told(site: Site) -> None:
    """Three times, then for good, with a sentence; its lease was renewed all the time."""
    await site.active(A)
    shelf = Shelf()
    node = exporter(site, shelf)
    destinations_of(node)["archive"] = detour(shelf, deliver=hangs)
    task = await node.desk.create(OWNER, "export", ASKED)
    site.start(node.runner.serve()).ignore()

    with capture_logs() as lines:
        await anyio.sleep(3 * 900 + 30)
    ended = await site.catalog.get_task(task.id)

    assert (ended.status, ended.attempts) == (TaskStatus.FAILURE, 3)
    assert ended.message == (
        "No progress was made for 900 s (at its beginning): what is read from, or written to, "
        "does not answer. That was attempt 3, the last one."
    )
    stalls = [line for line in lines if line["event"] == "task.stalled"]
    assert [line["log_level"] for line in stalls] == ["error"] * 3
    assert not node.runner.running


async def test_an_attempt_that_goes_on_slowly_does_not_stall(site: Site) -> None:
    """However long it takes in all, and however long a step with limits of its own does."""
    await site.active(A)
    shelf = Shelf(has_limits=True)
    node = exporter(site, shelf)

    async def slow(parcel: Parcel, blocks: AsyncIterable[Block], _: int | None) -> int:
        async def slowly() -> AsyncIterator[Block]:
            async for block in blocks:
                await anyio.sleep(800)
                yield block
            await anyio.sleep(5000)

        return await shelf.deliver(parcel, slowly())

    destinations_of(node)["archive"] = detour(shelf, deliver=slow)
    task = await node.do_task("export", ASKED, OWNER)

    assert (task.status, task.attempts) == (TaskStatus.SUCCESS, 1)


async def test_the_queue_behind_a_full_destination(site: Site) -> None:
    """Thousands wait for it, and are older: who goes elsewhere is found behind them."""
    await site.active(A)
    frozen, archive = Shelf("frozen"), Shelf()
    node = exporter(site, archive)
    destinations_of(node)["frozen"] = detour(frozen, deliver=hangs)
    for number in range(250):
        await site.catalog.add_task(
            record(f"t{number}", type="export", input={**ASKED, "export_to": "frozen"})
        )
    site.start(node.runner.serve()).ignore()
    await anyio.sleep(1)
    task = await node.desk.create(OWNER, "export", {**ASKED, "export_to": "archive"})
    await anyio.sleep(10)

    assert (await site.catalog.get_task(task.id)).status is TaskStatus.SUCCESS
