"""SQLite's query plans: statements use an index, so their cost does not grow with the catalog."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event

from contracts import catalog_samples as samples
from contracts.catalog_files import database_of, opened
from contracts.catalog_plans import LAST_TASK, LISTS, MEMBER
from imaged.catalogs import list_samples
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core import list_plan
from imaged.core.deletion import delete
from imaged.core.errors import QuotaExceeded
from imaged.core.growth import reserve
from imaged.core.image import Image
from imaged.core.limits import MAX_PROPERTIES, MAX_TAGS, MIB
from imaged.core.query import Column, ImageQuery, Order, TaskQuery
from imaged.core.task import Progress, TaskStatus, cancel
from imaged.core.uploading import begin_upload
from support.quotas import limit_total
from support.sample_images import draft, task

pytestmark = pytest.mark.asyncio

BY_SIZE = (Order(Column.SIZE),)


class Plans:
    """The plans of all statements that were executed, in whichever thread."""

    def __init__(self, catalog: SqlCatalog) -> None:
        database = database_of(catalog)
        self.steps: list[str] = []
        for engine in (database.writer, database.readers, database.listers):
            event.listen(engine.pool, "checkout", self._trace)
        for reader in (database.loop_reader, database.loop_lister):
            reader.connect()
            reader.longest_scan_seconds = 60  # none is made twice on a busy machine
            assert reader.connection is not None
            self._trace(reader.connection.connection.driver_connection)

    def _trace(self, connection: Any, *_: object) -> None:
        """``set_trace_callback`` tells each statement with its values."""
        (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
        connection.set_trace_callback(partial(self._explain, path))

    def _explain(self, path: str, statement: str) -> None:
        if statement.startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
            with closing(sqlite3.connect(path)) as other:
                self.steps += [row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {statement}")]

    def scans(self) -> list[str]:
        """The steps that scan a growing table in full."""
        return [
            step
            for step in self.steps
            if step.startswith("SCAN ")
            and "USING" not in step
            and not step.startswith(("SCAN (", "SCAN CONSTANT ROW"))
            and step.split()[1] not in {"waiting", "busy"}  # rows found by an index
            and step.split()[1] != "json_each"  # the values of a parameter
        ]

    def sorts(self) -> list[str]:
        """The steps that sort."""
        return [step for step in self.steps if "ORDER BY" in step]


@pytest_asyncio.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    """With images in most statuses."""
    async with opened(tmp_path / "catalog.db") as catalog:
        await samples.add_active(catalog, "active")
        await samples.add_expired(catalog, "expired")
        yield catalog


@pytest.mark.parametrize("name", LISTS)
async def test_lists_use_an_index(catalog: SqlCatalog, name: str) -> None:
    """No list scans every image, and the common ones sort nothing."""
    query, index = LISTS[name]
    plans = Plans(catalog)
    await catalog.list_page(query, 8 * MIB)

    assert any(f"INDEX {index} " in f"{step} " for step in plans.steps), plans.steps
    assert [step for step in plans.scans() if "images" in step.split()] == []
    if query.caller is not MEMBER and not query.tags and not query.properties:
        sorts = [step for step in plans.sorts() if "RIGHT PART" not in step]
        assert len(sorts) <= 1, plans.steps  # the page's locations


@pytest.mark.parametrize("count", [2, MAX_PROPERTIES])
async def test_many_filters_are_counted_once(catalog: SqlCatalog, count: int) -> None:
    """Each is looked up in the index once, one of them finds images, and the others are checked."""
    properties = tuple((f"k{number}", "v") for number in range(count))
    plans = Plans(catalog)
    await samples.list_images(catalog, ImageQuery(properties=properties))

    lookups = [step for step in plans.steps if "image_properties_value" in step]
    assert len(lookups) == count + 1, plans.steps
    assert sum("autoindex_image_properties" in step for step in plans.steps) == count - 1
    assert [step for step in plans.scans() if "images" in step.split()] == []


async def test_many_tags_are_counted_once(catalog: SqlCatalog) -> None:
    """One of them finds images, and the others are checked."""
    plans = Plans(catalog)
    await samples.list_images(catalog, ImageQuery(tags=tuple(map(str, range(MAX_TAGS)))))

    assert sum("INDEX image_tags_tag" in step for step in plans.steps) == MAX_TAGS + 1
    assert sum("image_tags USING PRIMARY KEY" in step for step in plans.steps) == MAX_TAGS - 1


async def test_duties_use_an_index(catalog: SqlCatalog) -> None:
    """Frequent background queries cost as much as is due, not as much as there is."""
    plans = Plans(catalog)
    await catalog.find_expirable(samples.AN_HOUR, 10)
    await catalog.find_pending_tasks(["import", "verify"], 10)
    await catalog.expire_tasks(10)
    await catalog.count_unfinished_tasks("a")
    await catalog.list_attempts()
    await catalog.find_staged(samples.AN_HOUR, 10)
    await catalog.purge(samples.AN_HOUR, 10)
    await catalog.take_doomed(10, samples.AN_HOUR)
    await catalog.list_doomed(10)
    await catalog.find_lapsed(10)
    await catalog.renew_leases([samples.new_claim()])
    await catalog.list_keys(samples.STORE, "aa/")
    await catalog.list_kept(samples.STORE, "aa/")

    used = {"images_restorable", "images_since", "blobs_due", "blobs_store", "claims_until"}
    used |= {f"task_records_{name}" for name in ("waiting", "expiring", "token", "until")}
    assert {index for index in used if any(index in step for step in plans.steps)} == used
    assert plans.scans() == []


async def test_changes_use_an_index(catalog: SqlCatalog) -> None:
    """So does every change or removal of an image, with its rows."""
    plans = Plans(catalog)
    await samples.add_active(catalog, "i")
    await catalog.modify_image("i", delete(delayed=True))
    await catalog.get_image("i")
    await catalog.reschedule("i/1", "no")
    await catalog.remove_blob("expired/1")
    await catalog.purge(-samples.AN_HOUR, 10)

    assert plans.scans() == []
    assert plans.steps


async def test_a_refused_step_reads_claims_alone(catalog: SqlCatalog) -> None:
    """Not the other images of the project, of which there may be many."""
    claim = samples.new_claim()
    await catalog.add_image(samples.queued("i"))
    await samples.act(catalog, "i", claim, begin_upload(samples.place("i/1", 0)))
    await limit_total(catalog, "a", 20)
    plans = Plans(catalog)
    with pytest.raises(QuotaExceeded):
        await samples.act(catalog, "i", claim, reserve(100))

    assert [step.split()[1] for step in plans.scans()] == ["claims"]
    assert not [step for step in plans.steps if "images_owner" in step]


async def test_what_finds_the_images_of_one_branch_finds_those_of_all(catalog: SqlCatalog) -> None:
    """Images with a tag are read once, and not those that are shared as well."""
    for number in range(3):
        await catalog.add_image(Image(id=f"i{number}", owner=MEMBER.project, tags=("t",)[:number]))
    plans = Plans(catalog)

    await samples.list_images(catalog, ImageQuery(caller=MEMBER, tags=("t",), order=BY_SIZE))

    assert sum("image_tags_tag" in step for step in plans.steps) == 2  # counted, and read
    assert sum("image_members_member" in step for step in plans.steps) == 1  # counted


async def test_an_order_that_begins_with_others_is_not_read(
    catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many images have a tag, but not those with which the order begins."""
    monkeypatch.setattr(list_plan, "EXPECTED_IMAGES", 1)
    for module in (list_plan, list_samples):
        monkeypatch.setattr(module, "SAMPLE_IMAGES", 4)
    for number in range(7):
        tags = () if number < 4 else ("t",)
        await catalog.add_image(Image(id=f"i{number}", owner="a", name=f"n{number}", tags=tags))
    plans = Plans(catalog)
    by_name = (Order(Column.NAME),)

    found = await samples.list_images(catalog, ImageQuery(tags=("t",), order=by_name, limit=1))

    assert [image.id for image in found] == ["i4"]
    assert [step for step in plans.steps if "image_tags_tag" in step][2:]  # counted twice, and read


TASK_LISTS = {
    "everything": (TaskQuery(), "task_records_created"),
    "next page": (TaskQuery(after=LAST_TASK), "task_records_created"),
    "oldest first": (TaskQuery(descending=False), "task_records_created"),
    "a member's": (TaskQuery(caller=MEMBER), "task_records_owner"),
    "a member's next page": (TaskQuery(caller=MEMBER, after=LAST_TASK), "task_records_owner"),
    "of an image": (TaskQuery(image_id="i"), "task_records_image"),
    "that made an image": (TaskQuery(image_id="i"), "task_records_written"),
    "in one status": (TaskQuery(status=TaskStatus.PENDING), "task_records_status"),
}


@pytest.mark.parametrize("name", TASK_LISTS)
async def test_lists_of_tasks_use_an_index(catalog: SqlCatalog, name: str) -> None:
    """No list scans every task."""
    query, index = TASK_LISTS[name]
    plans = Plans(catalog)
    await catalog.list_tasks(query)

    assert any(f"INDEX {index} " in f"{step} " for step in plans.steps), plans.steps
    assert plans.scans() == []


async def test_changes_of_tasks_use_an_index(catalog: SqlCatalog) -> None:
    """Alone or in an image, from creation to removal."""
    plans = Plans(catalog)
    await catalog.add_task(task("t1"))
    await catalog.add_image(draft("i", made_by=task("t2")))
    await catalog.update_task_progress("t1", 1, Progress("reading"))
    for name in ("t1", "t2"):
        await catalog.modify_task(name, lambda task: cancel(task, "enough"))
        await catalog.get_task(name)
        await catalog.remove_task(name, id)

    assert plans.scans() == []


async def test_a_summary_counts_in_indexes(catalog: SqlCatalog) -> None:
    """It scans no large table, except for the restorable images."""
    plans = Plans(catalog)
    await catalog.summarize()

    assert {step.split()[1] for step in plans.scans()} <= {"claims", "instances", "places"}
    assert any("COVERING INDEX images_since" in step for step in plans.steps), plans.steps
    assert any("COVERING INDEX blobs_stock" in step for step in plans.steps), plans.steps
    assert any("INDEX images_restorable" in step for step in plans.steps), plans.steps
    assert any("INDEX images_damaged" in step for step in plans.steps), plans.steps
    assert any("COVERING INDEX task_records_status" in step for step in plans.steps), plans.steps
