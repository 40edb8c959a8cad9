"""How every catalog in a database treats slow lists."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import anyio
import pytest
from sqlalchemy import Connection, text

from contracts.catalog_samples import add_saving, new_claim
from imaged.catalogs.database import LIST_TIMEOUT_SECONDS
from imaged.catalogs.postgresql.driver import PostgresqlDatabase
from imaged.catalogs.sql_catalog import SHORT_PAGE, SqlCatalog
from imaged.catalogs.sqlite.driver import SqliteDatabase
from imaged.core.errors import ListTooSlow
from imaged.core.limits import MIB
from imaged.core.query import ImageQuery, TaskQuery
from support.waiting import until

LIST_COUNT = 20
CONCURRENT_LISTS = 2  # at least this many run
LONG_PAGE = ImageQuery(limit=SHORT_PAGE + 1)  # a short one need not wait for a thread
LONG_SECONDS, SHORT_SECONDS = 4, 0.3


def limit_lists(catalog: SqlCatalog, seconds: float) -> None:
    """Set the time limit of lists."""
    database = catalog.database
    if isinstance(database, SqliteDatabase):
        database.settings = replace(database.settings, list_seconds=seconds)
    else:
        assert isinstance(database, PostgresqlDatabase)
        database.settings = replace(database.settings, list_seconds=seconds)


class SlowListsContract:
    """Lists end, and no other call waits for them."""

    #: A statement without an end.
    slow: str

    async def test_slow_lists_hold_up_nothing_else(self, catalog: SqlCatalog) -> None:
        """Twenty at once: beside them a claim is renewed, a record read and changed.

        Other lists wait for their turn, and take no connection that is not for lists.
        """
        limit_lists(catalog, LONG_SECONDS)
        claim = new_claim()
        await add_saving(catalog, "i", claim)
        slow = [
            asyncio.create_task(catalog.database.read_list(self.work)) for _ in range(LIST_COUNT)
        ]
        await self.until_busy(catalog)

        assert await catalog.renew_leases([claim]) == {claim}
        assert (await catalog.get_image("i")).claim == claim
        await catalog.check()
        limit_lists(catalog, SHORT_SECONDS)
        for listed in (catalog.list_page(LONG_PAGE, MIB), catalog.list_tasks(TaskQuery())):
            with pytest.raises(ListTooSlow):
                await listed

        assert not any(one.done() for one in slow)
        await asyncio.gather(*slow, return_exceptions=True)
        limit_lists(catalog, LIST_TIMEOUT_SECONDS)
        assert len((await catalog.list_page(ImageQuery(), MIB)).images) == 1

    async def test_a_slow_list_is_ended(self, catalog: SqlCatalog) -> None:
        """Running and waiting ones: each with an error message."""
        limit_lists(catalog, SHORT_SECONDS)
        with anyio.fail_after(20):
            ends = await asyncio.gather(
                *[catalog.database.read_list(self.work) for _ in range(LIST_COUNT)],
                return_exceptions=True,
            )
        assert {type(end) for end in ends} == {ListTooSlow}
        assert "fewer filters" in str(ends[0])
        assert catalog.database.busy == 0
        limit_lists(catalog, LIST_TIMEOUT_SECONDS)
        assert await catalog.database.read_list(lambda db: db.scalar(text("SELECT 1"))) == 1

    def work(self, db: Connection) -> None:
        """Run the statement."""
        db.execute(text(self.slow))

    async def until_busy(self, catalog: SqlCatalog) -> None:
        """Wait until the maximum is running."""

        async def are_running() -> bool:
            return catalog.database.busy >= CONCURRENT_LISTS

        await until(are_running)
