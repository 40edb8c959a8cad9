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

from imaged.core.block import Block
from imaged.core.deletion import deactivate
from imaged.core.errors import (
    DataForbidden,
    ExportError,
    ImageNotFound,
    InvalidInput,
    InvalidTransition,
    ScratchError,
)
from imaged.core.task import Task, TaskStatus
from imaged.exports.conventions import temporary_name
from imaged.inspectors.oslo_inspector import OsloInspector
from imaged.lanes import InlineLane
from imaged.ports.catalog import Catalog
from imaged.ports.disk_image import Scratch, ScratchFolder
from imaged.ports.export import ExportFile
from imaged.services.downloads import Downloads
from imaged.services.tasks.cleanup import UNKNOWN_TASK_GRACE, LeftoverCleaner
from imaged.services.tasks.context import StreamCheckFactory
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.types.export import Export
from support.bodies import BODY
from support.callers import ADMIN, OWNER, STRANGER
from support.cluster import Cluster
from support.fake_converter import FakeConverter
from support.faults import catalog_fails, from_nth, hangs, nth, override_calls, pause
from support.memory_destination import MemoryDestination
from support.node import A, B, FixedBlockBudget, Node
from support.sample_images import task as record
from support.settings import configured
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

ASKED = {"image_id": A, "export_to": "archive", "file_name": "a/b.raw"}


class NoScratch:
    """A Scratch that knows of folders, and has none."""

    def __init__(self, *attempts: UUID) -> None:
        self.left = {*attempts}
        self.error: ScratchError | None = None

    @asynccontextmanager
    async def folder(self, attempt: UUID) -> AsyncIterator[ScratchFolder]:
        """Not called in this test."""
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


def exporter(cluster: Cluster, shelf: MemoryDestination, name: str = "n", **settings: Any) -> Node:
    """A node that exports to a shelf."""
    budget = FixedBlockBudget(1024)
    check_factory = StreamCheckFactory(lambda: 1 << 30, (), InlineLane)
    conversion = ImageConverter(NoScratch(), FakeConverter(), OsloInspector, check_factory)
    catalog: Catalog = settings.get("catalog") or cluster.catalog
    downloads = Downloads(catalog, cluster.stores(), budget)
    export = Export(
        catalog, downloads, conversion, {"archive": shelf}, budget=budget, lanes=InlineLane
    )
    return cluster.node(name, types=[export], budget=budget, **settings)


def destinations_of(node: Node) -> dict[str, Any]:
    """Where a node exports to, to be changed."""
    export: Any = node.task_service.registry.get("export")
    destinations: dict[str, Any] = export.destinations
    return destinations


def sweeper(
    cluster: Cluster, *shelves: MemoryDestination, scratch: Scratch | None = None
) -> LeftoverCleaner:
    """What removes leftovers."""
    return LeftoverCleaner(cluster.catalog, scratch or NoScratch(), shelves)


async def exported(cluster: Cluster, shelf: MemoryDestination, **changes: object) -> Task:
    """The task, done."""
    return await exporter(cluster, shelf).do_task("export", {**ASKED, **changes}, OWNER)


async def with_source(cluster: Cluster) -> tuple[Node, MemoryDestination]:
    """A node beside an image with data, and the shelf that it exports to."""
    await cluster.active(A)
    shelf = MemoryDestination()
    return exporter(cluster, shelf), shelf


async def failure_of(cluster: Cluster, task: Task) -> str:
    """The sentence with which it failed."""
    ended = await cluster.catalog.get_task(task.id)
    assert ended.status is TaskStatus.FAILURE
    return ended.message or ""


def result_of(task: Task) -> Mapping[str, object]:
    """The result of a success."""
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    return task.result


async def test_the_bytes_are_there(cluster: Cluster) -> None:
    """With their location, size and digests; the image has not changed."""
    before, shelf = await cluster.active(A), MemoryDestination()

    result = result_of(await exported(cluster, shelf))

    assert shelf.files == {"a/b.raw": BODY}
    assert result == {
        "export_location": "memory://archive/a/b.raw",
        "size": len(BODY),
        "checksum": hashlib.md5(BODY, usedforsecurity=False).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(BODY).hexdigest(),
    }
    assert await cluster.image(A) == before
    cluster.audit()


@pytest.mark.parametrize("export_format", ["", "raw"])
async def test_the_default_name(cluster: Cluster, export_format: str) -> None:
    """The image's id and its format; a format that it has already is no conversion."""
    await cluster.active(A)
    shelf = MemoryDestination()
    await exported(cluster, shelf, file_name="", export_format=export_format)
    assert shelf.files == {f"{A}.raw": BODY}


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"export_to": "nowhere"}, "export_to", "there is archive"),
        ({"file_name": "../x"}, "file_name", 'begins with "."'),
        ({"file_name": "/etc/passwd"}, "file_name", "absolute"),
        ({"file_name": "taken.raw"}, "file_name", "there is a file of this name already"),
        ({"export_format": "floppy"}, "export_format", "must be one of"),
        ({"export_format": "iso"}, "export_format", "is not possible"),
        ({"image_id": B, "export_format": "qcow2"}, "export_format", "in a container (ova)"),
        ({"image_id": "x"}, "image_id", "is invalid"),
        ({"colour": "blue"}, "colour", "is not known"),
    ],
)
async def test_what_is_refused_at_once(
    cluster: Cluster, changes: dict[str, str], field: str, why: str
) -> None:
    """By the name of the field."""
    await cluster.active(A)
    await cluster.queued(B, container_format="ova")
    await Node("maker", cluster.catalog, cluster.stores()).upload(B)
    node = exporter(cluster, MemoryDestination(files={"taken.raw": b"theirs"}))

    with pytest.raises(InvalidInput) as refused:
        await node.task_service.create(OWNER, "export", {**ASKED, **changes})

    assert refused.value.name == field
    assert why in str(refused.value)


async def test_callers_that_may_ask(cluster: Cluster) -> None:
    """Callers that may download; only admins if it is deactivated."""
    await cluster.queued(A)
    shelf = MemoryDestination()
    node = exporter(cluster, shelf)
    with pytest.raises(InvalidTransition):
        await node.task_service.create(OWNER, "export", ASKED)
    await node.upload(A)
    with pytest.raises(ImageNotFound):
        await node.task_service.create(STRANGER, "export", ASKED)
    await cluster.change(A, deactivate)
    with pytest.raises(DataForbidden):
        await node.task_service.create(OWNER, "export", ASKED)

    assert result_of(await node.do_task("export", ASKED, ADMIN))["size"] == len(BODY)


async def test_rights_are_looked_at_again(cluster: Cluster) -> None:
    """When the work begins, the image may be deactivated."""
    node, shelf = await with_source(cluster)
    task = await node.task_service.create(OWNER, "export", ASKED)
    await cluster.change(A, deactivate)
    assert await node.run_tasks() == 0
    message = await failure_of(cluster, task)
    assert "deactivated" in message
    assert not shelf.files


async def test_several_run_side_by_side(cluster: Cluster) -> None:
    """On one image; of two with the same name, one says why not."""
    await cluster.active(A)
    shelf = MemoryDestination()
    node = exporter(cluster, shelf, tasks=configured(RunnerSettings, exports_per_destination=4))
    for name in ("one", "two", "three", "three"):
        await node.task_service.create(OWNER, "export", {**ASKED, "file_name": name})

    assert await node.run_tasks() == 3

    assert shelf.files == {"one": BODY, "two": BODY, "three": BODY}
    tasks = await node.task_service.list_for_image(OWNER, A)
    (failed,) = [task for task in tasks if task.status is TaskStatus.FAILURE]
    assert "There is a file of this name already: three" in (failed.message or "")
    assert node.budget.free_bytes == node.budget.total_bytes


async def test_damaged_bytes_are_not_exported(cluster: Cluster) -> None:
    """They are told, marked, and visible nowhere."""
    image = await cluster.active(A)
    cluster.near.blobs[image.locations[0].key] = b"X" + BODY[1:]
    shelf = MemoryDestination()

    with capture_logs() as lines:
        task = await exported(cluster, shelf)

    assert "is damaged" in (task.message or "")
    assert not shelf.files
    assert not shelf.unfinished
    assert "image.damaged" in {line["event"] for line in lines}
    assert (await cluster.image(A)).damage is not None


async def test_a_destination_that_is_down(cluster: Cluster) -> None:
    """The owner learns which, and not why."""
    node, shelf = await with_source(cluster)
    task = await node.task_service.create(OWNER, "export", ASKED)
    shelf.error = ExportError("archive", "cannot use /srv/secret")
    await node.run_tasks()
    message = await failure_of(cluster, task)
    assert "'archive' does not work at the moment" in message
    assert "secret" not in message


async def test_a_destination_that_is_slow_keeps_no_request_waiting(cluster: Cluster) -> None:
    """The task will see what is there."""
    node, shelf = await with_source(cluster)
    destinations_of(node)["archive"] = override_calls(shelf, has=hangs)
    task = await node.task_service.create(OWNER, "export", ASKED)
    assert elapsed() <= 5
    await node.run_tasks()
    assert result_of(await cluster.catalog.get_task(task.id))["size"] == len(BODY)


async def test_a_destination_that_is_no_longer_configured(cluster: Cluster) -> None:
    """The task was accepted before."""
    await cluster.active(A)
    task = await exporter(cluster, MemoryDestination()).task_service.create(OWNER, "export", ASKED)
    node = exporter(cluster, MemoryDestination(), "later")
    destinations_of(node).clear()
    await node.run_tasks()
    message = await failure_of(cluster, task)
    assert "export_to" in message


async def test_a_worker_that_dies_after_it_delivered(cluster: Cluster) -> None:
    """The next one knows the file, and does not export twice."""
    await cluster.active(A)
    shelf = MemoryDestination()
    modify = from_nth(cluster.catalog.modify_task, 2, catalog_fails)  # all but the claim
    dying = exporter(
        cluster, shelf, "dying", catalog=override_calls(cluster.catalog, modify_task=modify)
    )
    task = await dying.task_service.create(OWNER, "export", ASKED)
    await dying.run_tasks()
    assert shelf.files == {"a/b.raw": BODY}
    await anyio.sleep(200)

    node = exporter(cluster, shelf, "next")
    await node.reclaimer.run_due()
    with capture_logs() as lines:
        await node.run_tasks()

    again = await cluster.catalog.get_task(task.id)
    assert result_of(again)["checksum"] == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert again.attempts == 2
    phases = [line["phase"] for line in lines if line["event"] == "task.phase_began"]
    assert phases == ["reading back", "published"]


@pytest.mark.parametrize("left", [b"X" + BODY[1:], BODY[:-1]])
async def test_a_file_of_a_dead_worker_is_compared(cluster: Cluster, left: bytes) -> None:
    """It is no success where the file is not the image, whatever happened to it since."""
    node, shelf = await with_source(cluster)
    task = await node.task_service.create(OWNER, "export", ASKED)
    shelf.files["a/b.raw"], shelf.makers["a/b.raw"] = left, task.id

    await node.run_tasks()

    assert await failure_of(cluster, task) == (
        "An earlier attempt delivered the file a/b.raw, and it no longer matches the image. "
        "Remove it from the export destination 'archive', or choose another file_name, and create "
        "the task again."
    )
    assert shelf.files == {"a/b.raw": left}
    assert (await cluster.image(A)).damage is None


async def test_a_worker_that_dies_in_the_middle(cluster: Cluster) -> None:
    """What it left goes when the next one begins."""
    node, shelf = await with_source(cluster)
    task = await node.task_service.create(OWNER, "export", ASKED)
    shelf.unfinished[temporary_name(ExportFile(task.id, uuid4(), "a/b.raw"))] = b"half"

    await node.run_tasks()
    assert [*shelf.unfinished.values()] == [BODY]  # a second name of the file, and nothing else
    await sweeper(cluster, shelf).run_due()

    assert shelf.files == {"a/b.raw": BODY}
    assert not shelf.unfinished


async def test_a_worker_taken_for_dead_delivers_first(cluster: Cluster) -> None:
    """Then the file is there, and it is the task's: that is a success."""
    node, shelf = await with_source(cluster)
    task = await node.task_service.create(OWNER, "export", ASKED)

    async def zombie(*_: object) -> None:
        shelf.files["a/b.raw"], shelf.makers["a/b.raw"] = BODY, task.id

    destinations_of(node)["archive"] = override_calls(
        shelf, deliver=nth(shelf.deliver, 1, before=zombie)
    )

    await node.run_tasks()

    assert result_of(await cluster.catalog.get_task(task.id))["size"] == len(BODY)


async def test_being_cancelled_leaves_nothing(cluster: Cluster) -> None:
    """In the middle of it."""
    node, shelf = await with_source(cluster)
    destinations_of(node)["archive"] = override_calls(shelf, deliver=hangs)
    task = await node.task_service.create(OWNER, "export", ASKED)
    running = cluster.start(node.run_tasks())
    await anyio.sleep(5)

    await node.task_service.cancel(OWNER, task.id)
    await running.outcome()

    assert await failure_of(cluster, task) == "It was cancelled by ann."
    assert not shelf.files


# the sweeper


async def test_leftovers_of_tasks_that_have_ended_go(cluster: Cluster) -> None:
    """Those of other tasks stay, and of unknown ones for a while: a check may still need them."""
    node, shelf = await with_source(cluster)
    ended = await node.do_task("export", {**ASKED, "file_name": "first"}, OWNER)
    waiting = await node.task_service.create(OWNER, "export", ASKED)
    names = [
        temporary_name(ExportFile(task_id, uuid4(), "x"))
        for task_id in (ended.id, waiting.id, str(uuid4()))
    ]
    shelf.unfinished |= dict.fromkeys(names, b"half")

    cleaner = sweeper(cluster, shelf)

    await cleaner.run_due()
    assert {*shelf.unfinished} == {*names[1:]}

    await anyio.sleep(UNKNOWN_TASK_GRACE.total_seconds() - 1)
    await cleaner.run_due()
    assert {*shelf.unfinished} == {*names[1:]}

    await anyio.sleep(1)
    await cleaner.run_due()
    assert {*shelf.unfinished} == {names[1]}
    assert {*shelf.files} == {"first"}


async def test_scratch_of_attempts_that_stand_stays(cluster: Cluster) -> None:
    """All other goes."""
    node, shelf = await with_source(cluster)
    export: Any = node.task_service.registry.get("export")
    slow = nth(shelf.deliver, 1, before=pause(20))
    export.destinations["archive"] = override_calls(shelf, deliver=slow)
    await node.task_service.create(OWNER, "export", ASKED)
    running = cluster.start(node.run_tasks())
    await anyio.sleep(5)
    (standing,) = await cluster.catalog.list_attempts()
    scratch = NoScratch(standing, uuid4(), uuid4())

    await sweeper(cluster, scratch=scratch).run_due()
    assert scratch.left == {standing}
    await running.outcome()
    await sweeper(cluster, scratch=scratch).run_due()

    assert not scratch.left


async def test_trouble_in_one_place_holds_up_no_other(cluster: Cluster) -> None:
    """It is told once, until it changes."""
    down, up, scratch = MemoryDestination("down"), MemoryDestination("up"), NoScratch()
    down.error, scratch.error = ExportError("down", "is down"), ScratchError("/x", "gone")
    up.unfinished[temporary_name(ExportFile(str(uuid4()), uuid4(), "x"))] = b"half"
    both = sweeper(cluster, down, up, scratch=scratch)

    with capture_logs() as lines:
        await both.run_due()
        await anyio.sleep(UNKNOWN_TASK_GRACE.total_seconds())
        await both.run_due()
        down.error = ExportError("down", "is on fire")
        await both.run_due()

    assert not up.unfinished
    told = [line["place"] for line in lines if line["event"] == "sweep.failed"]
    assert told == ["scratch", "exports.down", "exports.down"]


@pytest.mark.parametrize(
    ("place", "call"),
    [("scratch", "attempts"), ("scratch", "remove"), ("frozen", "leftovers"), ("frozen", "remove")],
)
async def test_a_place_that_hangs_holds_up_no_other(
    cluster: Cluster, place: str, call: str
) -> None:
    """No list and no removal is waited for longer than a minute, and it is told."""
    unknown = temporary_name(ExportFile(str(uuid4()), uuid4(), "x"))
    frozen, shelf = (
        MemoryDestination(name, unfinished={unknown: b"half"}) for name in ("frozen", "archive")
    )
    scratch = NoScratch(uuid4())
    hanging = {call: hangs}
    cleaner = sweeper(
        cluster,
        override_calls(frozen, **hanging) if place == "frozen" else frozen,
        shelf,
        scratch=override_calls(scratch, **hanging) if place == "scratch" else scratch,
    )

    with anyio.move_on_after(2 * UNKNOWN_TASK_GRACE.total_seconds()):
        while shelf.unfinished:
            await cleaner.run_due()
            await anyio.sleep(60)

    assert not shelf.unfinished
    listed = [f"{name}: {text}" for name, text in cleaner.troubles.items()]
    (told,) = [*listed, *cleaner.postponed.troubles]
    assert place in told
    assert "It did not answer within 60 s: check its disk" in told


# destinations that hang


async def test_a_hanging_destination_stops_no_other_export(cluster: Cluster) -> None:
    """Four exports to it: a verification and an export elsewhere are done meanwhile."""
    await cluster.active(A)
    frozen, archive = MemoryDestination("frozen"), MemoryDestination()
    node = exporter(cluster, archive, tasks=configured(RunnerSettings, concurrency=2))
    destinations_of(node)["frozen"] = override_calls(frozen, deliver=hangs)
    for number in range(4):
        asked = {**ASKED, "export_to": "frozen", "file_name": str(number)}
        await node.task_service.create(OWNER, "export", asked)
    cluster.start(node.runner.serve()).ignore()
    await anyio.sleep(1)
    others = [
        await node.task_service.create(OWNER, "export", {**ASKED, "export_to": "archive"}),
        await node.task_service.create(OWNER, "verify", {"image_id": A}),
    ]
    await anyio.sleep(10)

    for task in others:
        assert (await cluster.catalog.get_task(task.id)).status is TaskStatus.SUCCESS
    assert len(node.runner.running) == 2


async def test_an_attempt_that_stalls_ends_and_is_told(cluster: Cluster) -> None:
    """Three times, then for good, with a sentence; its lease was renewed all the time."""
    node, shelf = await with_source(cluster)
    destinations_of(node)["archive"] = override_calls(shelf, deliver=hangs)
    task = await node.task_service.create(OWNER, "export", ASKED)
    cluster.start(node.runner.serve()).ignore()

    with capture_logs() as lines:
        await anyio.sleep(3 * 900 + 30)
    ended = await cluster.catalog.get_task(task.id)

    assert (ended.status, ended.attempts) == (TaskStatus.FAILURE, 3)
    assert ended.message == (
        "No progress was made for 900 s (at its beginning): what is read from, or written to, "
        "does not answer. That was attempt 3, the last one."
    )
    stalls = [line for line in lines if line["event"] == "task.stalled"]
    assert [line["log_level"] for line in stalls] == ["error"] * 3
    assert not node.runner.running


async def test_an_attempt_that_goes_on_slowly_does_not_stall(cluster: Cluster) -> None:
    """However long it takes in all, and however long a step with limits of its own does."""
    await cluster.active(A)
    shelf = MemoryDestination(has_own_timeout=True)
    node = exporter(cluster, shelf)

    async def slow(export_file: ExportFile, blocks: AsyncIterable[Block], _: int | None) -> int:
        async def slowly() -> AsyncIterator[Block]:
            async for block in blocks:
                await anyio.sleep(800)
                yield block
            await anyio.sleep(5000)

        return await shelf.deliver(export_file, slowly())

    destinations_of(node)["archive"] = override_calls(shelf, deliver=slow)
    task = await node.do_task("export", ASKED, OWNER)

    assert (task.status, task.attempts) == (TaskStatus.SUCCESS, 1)


async def test_the_queue_behind_a_full_destination(cluster: Cluster) -> None:
    """Thousands wait for it, and are older: a task for another destination is found behind them."""
    await cluster.active(A)
    frozen, archive = MemoryDestination("frozen"), MemoryDestination()
    node = exporter(cluster, archive)
    destinations_of(node)["frozen"] = override_calls(frozen, deliver=hangs)
    for number in range(250):
        await cluster.catalog.add_task(
            record(f"t{number}", type="export", input={**ASKED, "export_to": "frozen"})
        )
    cluster.start(node.runner.serve()).ignore()
    await anyio.sleep(1)
    task = await node.task_service.create(OWNER, "export", {**ASKED, "export_to": "archive"})
    await anyio.sleep(10)

    assert (await cluster.catalog.get_task(task.id)).status is TaskStatus.SUCCESS
