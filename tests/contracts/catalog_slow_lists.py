"""How every catalog in a database treats slow lists."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from sqlalchemy import Connection, text

from contracts.catalog_samples import add_saving, new_claim
from imaged.catalogs import image_pages, tasks
from imaged.catalogs.database import ListBudgetSpent
from imaged.catalogs.postgresql.driver import PostgresqlDatabase
from imaged.catalogs.sql_catalog import SHORT_PAGE, SqlCatalog
from imaged.catalogs.sqlite.driver import SqliteDatabase
from imaged.core.errors import ListTooBroad, ListTooSlow
from imaged.core.limits import MIB
from imaged.core.list_plan import LIST_BUDGET
from imaged.core.query import Column, Condition, ImageQuery, Operator, TaskQuery
from support.waiting import until

LIST_COUNT = 20
CONCURRENT_LISTS = 2  # at least this many run
LONG_PAGE = ImageQuery(limit=SHORT_PAGE + 1)  # a short one need not wait for a thread
LONG, SHORT = timedelta(seconds=4), timedelta(seconds=0.3)


def limit_waiting(catalog: SqlCatalog, seconds: float) -> None:
    """Set how long lists wait for their turn."""
    database = catalog.database
    assert isinstance(database, SqliteDatabase | PostgresqlDatabase)
    if isinstance(database, SqliteDatabase):
        database.settings = replace(database.settings, list_wait_seconds=seconds)
    else:
        database.settings = replace(database.settings, list_wait_seconds=seconds)


class SlowListsContract:
    """Lists end, and no other call waits for them."""

    #: A statement without an end.
    slow: str

    async def test_slow_lists_hold_up_nothing_else(self, catalog: SqlCatalog) -> None:
        """Twenty at once: beside them a claim is renewed, a record read and changed.

        Other lists wait for their turn, and take no connection that is not for lists.
        """
        claim = new_claim()
        await add_saving(catalog, "i", claim)
        slow = [
            asyncio.create_task(catalog.database.read_list(self.work, LONG))
            for _ in range(LIST_COUNT)
        ]
        await self.until_busy(catalog)

        assert await catalog.renew_leases([claim]) == {claim}
        assert (await catalog.get_image("i")).claim == claim
        await catalog.check()
        limit_waiting(catalog, SHORT.total_seconds())
        catalog.list_budget = SHORT
        for listed in (catalog.list_page(LONG_PAGE, MIB), catalog.list_tasks(TaskQuery())):
            with pytest.raises(ListTooSlow):
                await listed

        assert not any(one.done() for one in slow)
        await asyncio.gather(*slow, return_exceptions=True)
        catalog.list_budget = LIST_BUDGET
        assert len((await catalog.list_page(ImageQuery(), MIB)).images) == 1

    async def test_a_slow_list_is_ended(self, catalog: SqlCatalog) -> None:
        """Each when its own statements took too long, however long it waited for its turn."""
        with anyio.fail_after(60):
            ends = await asyncio.gather(
                *[
                    catalog.database.read_list(self.work, SHORT)
                    for _ in range(CONCURRENT_LISTS * 4)
                ],
                return_exceptions=True,
            )
        assert {type(end) for end in ends} == {ListBudgetSpent}
        assert catalog.database.busy == 0
        read = catalog.database.read_list(lambda db: db.scalar(text("SELECT 1")), LIST_BUDGET)
        assert await read == 1

    async def test_a_list_over_its_budget_is_told_what_to_add(
        self, catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A filter that it does not have."""
        monkeypatch.setattr(image_pages, "list_page", lambda db, **_: self.work(db))
        monkeypatch.setattr(tasks, "list_tasks", lambda db, **_: self.work(db))
        catalog.list_budget = SHORT
        named = Condition(Column.NAME, Operator.EQUAL, "n")

        for listed, filter_to_add in (
            (catalog.list_page(LONG_PAGE, MIB), "name=VALUE"),
            (catalog.list_page(ImageQuery(conditions=(named,)), MIB), "owner=VALUE"),
            (catalog.list_tasks(TaskQuery()), "image_id=ID"),
        ):
            with pytest.raises(ListTooBroad, match=f"0.3 seconds .* such as {filter_to_add}"):
                await listed

    def work(self, db: Connection) -> None:
        """Run the statement."""
        db.execute(text(self.slow))

    async def until_busy(self, catalog: SqlCatalog) -> None:
        """Wait until the maximum is running."""

        async def are_running() -> bool:
            return catalog.database.busy >= CONCURRENT_LISTS

        await until(are_running)
