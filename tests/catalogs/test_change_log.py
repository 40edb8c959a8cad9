"""What happens to images, and every change of a task's status, is logged once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from structlog.typing import EventDict

from contracts import catalog_samples as samples
from contracts.catalog_files import opened
from imaged.catalogs.change_log import ChangeLog
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.deletion import (
    deactivate,
    delete,
    delete_after,
    expire,
    reactivate,
    restore,
)
from imaged.core.errors import ActivationRefused, ImageExists
from imaged.core.growth import reserve
from imaged.core.task import Progress, Task, TaskStatus, cancel, claim_task
from imaged.core.uploading import begin_import, give_back, store_data
from support.sample_images import attempt_at, draft, task

Log = list[EventDict]


@pytest.fixture
def log() -> Iterator[Log]:
    """What was logged."""
    with capture_logs() as events:
        yield events


@pytest_asyncio.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    """Empty."""
    async with opened(tmp_path / "catalog.db") as catalog:
        yield catalog


pytestmark = pytest.mark.asyncio


def told(log: Log) -> list[tuple[object, ...]]:
    """What happened, and from which status to which."""
    return [(event["event"], event["from_status"], event["to_status"]) for event in log]


async def test_a_life_is_told(catalog: SqlCatalog, log: Log) -> None:
    """Each change is one event, in order, named by what happened."""
    await samples.add_active(catalog, "i")
    await catalog.modify_image("i", lambda image: replace(image, name="n", tags=("base",)))
    await catalog.modify_image("i", deactivate)
    await catalog.modify_image("i", reactivate)
    await catalog.modify_image("i", delete_after(timedelta(hours=1)))
    await catalog.modify_image("i", restore)
    seen = await catalog.modify_image("i", delete(delayed=True))
    await catalog.modify_image("i", expire(seen))
    await catalog.remove_blob("i/1")
    await catalog.remove_blob("i/1")
    await catalog.purge(samples.NO_DELAY, 1)

    assert told(log) == [
        ("image.created", None, "queued"),
        ("image.upload_started", "queued", "saving"),
        ("image.uploaded", "saving", "active"),
        ("image.changed", "active", "active"),
        ("image.deactivated", "active", "deactivated"),
        ("image.reactivated", "deactivated", "active"),
        ("image.deleted", "active", "pending_delete"),
        ("image.restored", "pending_delete", "active"),
        ("image.deleted", "active", "pending_delete"),
        ("image.scrub_started", "pending_delete", "pending_delete"),
        ("image.scrubbed", "pending_delete", "deleted"),
    ]
    assert {event["log_level"] for event in log} == {"info"}
    assert {(event["image_id"], event["owner"]) for event in log} == {("i", "a")}
    assert log[2]["size_bytes"] == log[-1]["size_bytes"] == samples.content().size_bytes
    assert log[3]["attributes"] == ["name", "tags"]
    assert [bool(event.get("scrub_due_at")) for event in log] == [False] * 6 + [True] + [False] * 4


async def test_claims_and_failures_are_told(catalog: SqlCatalog, log: Log) -> None:
    """The claim when work begins and when it ends; the reason when the work ended without a result,
    and not again when the next one begins.
    """
    claim = samples.new_claim()
    await samples.add_saving(catalog, "i", claim)
    await catalog.modify_image("i", give_back(claim, "The disk was full.", final=True))
    await catalog.modify_image("i", delete(delayed=False))

    token = str(claim.token)
    assert [event.get("claim_id") for event in log] == [None, token, token, None]
    assert [event.get("reason") for event in log] == [None, None, "The disk was full.", None]


async def test_what_is_not_told(catalog: SqlCatalog, log: Log) -> None:
    """Reservations, renewals, refusals and reads are not logged."""
    claim = samples.new_claim()
    await samples.add_saving(catalog, "i", claim)
    log.clear()

    await samples.act(catalog, "i", claim, reserve(99))
    await catalog.modify_image("i", lambda image: image)
    await catalog.renew_leases([claim])
    with pytest.raises(ActivationRefused):
        await catalog.modify_image("i", deactivate)
    with pytest.raises(ImageExists):
        await catalog.add_image(samples.queued("i"))
    await catalog.remove_blob("i/1")

    assert log == []


def lives(log: Log) -> list[tuple[object, ...]]:
    """The events of tasks and images: name, id, and statuses."""
    return [
        (
            line["event"],
            line["task_id" if line["event"] == "task.status" else "image_id"],
            line["from_status"],
            line["to_status"],
        )
        for line in log
    ]


async def test_the_life_of_a_task_is_told(catalog: SqlCatalog, log: Log) -> None:
    """Each change of status, with attempts and the reason of a failure; progress is not logged."""
    claim = samples.new_claim()
    await catalog.add_task(task("t1", type="verify", image_id="i"))
    await catalog.modify_task("t1", lambda task: claim_task(task, claim))
    await catalog.update_task_progress("t1", 1, Progress("reading"))
    await catalog.modify_task("t1", lambda task: task)
    await catalog.modify_task("t1", lambda task: cancel(task, "Enough."))
    await catalog.modify_task("t1", lambda task: cancel(task, "Again."))

    assert [(line["from_status"], line["to_status"], line["attempts"]) for line in log] == [
        (None, "pending", 0),
        ("pending", "processing", 1),
        ("processing", "failure", 1),
    ]
    assert {(line["event"], line["task_type"], line["image_id"]) for line in log} == {
        ("task.status", "verify", "i")
    }
    assert [line.get("reason") for line in log] == [None, None, "Enough."]


async def test_a_draft_is_not_told_of_before_it_is_made(catalog: SqlCatalog, log: Log) -> None:
    """Its creation is the success of its task; after a failed task it never existed."""
    claims = {"made": samples.new_claim(), "failed": samples.new_claim()}
    for name, claim in claims.items():
        await catalog.add_image(draft(name, made_by=task(f"t-{name}", type="import")))
        await samples.act(catalog, name, claim, attempt_at(samples.place(f"{name}/1")))
        if name == "made":
            await samples.act(catalog, name, claim, store_data(samples.content()))
        else:
            await catalog.modify_task("t-failed", lambda task: cancel(task, "Enough."))

    assert lives(log) == [
        ("task.status", "t-made", None, "pending"),
        ("task.status", "t-made", "pending", "processing"),
        ("image.created", "made", None, "active"),
        ("task.status", "t-made", "processing", "success"),
        ("task.status", "t-failed", None, "pending"),
        ("task.status", "t-failed", "pending", "processing"),
        ("task.status", "t-failed", "processing", "failure"),
    ]
    assert "failed" not in {line.get("image_id") for line in log}
    assert (log[2]["task_id"], log[2]["claim_id"]) == ("t-made", str(claims["made"].token))


async def test_an_image_that_its_task_takes_along(catalog: SqlCatalog, log: Log) -> None:
    """Whichever of both is ended: each is logged once, with the reason."""
    for name in ("i", "j"):
        await catalog.add_image(samples.queued(name))
        await catalog.modify_image(name, begin_import(task(f"t{name}")))
    log.clear()

    await catalog.modify_task("ti", lambda task: cancel(task, "Enough."))
    await catalog.modify_image("j", delete(delayed=False))

    assert lives(log) == [
        ("image.import_failed", "i", "importing", "queued"),
        ("task.status", "ti", "pending", "failure"),
        ("image.deleted", "j", "importing", "deleted"),
        ("task.status", "tj", "pending", "failure"),
    ]
    assert [line.get("reason") for line in log] == [
        "Enough.",
        "Enough.",
        None,
        "The image was deleted.",
    ]


async def test_the_hook_of_tasks_is_told_too(catalog: SqlCatalog) -> None:
    """A counter sees what the log sees."""
    seen: list[tuple[TaskStatus | None, TaskStatus]] = []

    def count(before: Task | None, after: Task) -> None:
        seen.append((None if before is None else before.status, after.status))

    catalog = SqlCatalog(catalog.database, ChangeLog(count))
    await catalog.add_image(draft("i", made_by=task("t1")))
    await catalog.modify_task("t1", lambda task: cancel(task, "Enough."))

    assert seen == [(None, TaskStatus.PENDING), (TaskStatus.PENDING, TaskStatus.FAILURE)]
