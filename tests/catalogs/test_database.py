"""A catalog on a measured database: transactions are unchanged, and their outcomes reported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from contracts import catalog_databases
from contracts.catalog_files import opened
from contracts.catalog_samples import queued
from contracts.catalog_slow_lists import LONG_PAGE, limit_waiting
from imaged.catalogs.database import MeteredDatabase
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError, ImageNotFound, ListTooSlow
from imaged.core.limits import MIB
from imaged.core.query import TaskQuery
from imaged.ports.meter import TRANSACTION_KINDS, ignore_measurement
from stores.test_metered import Notes

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def within(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    """The catalog whose database is measured."""
    if request.param == "sqlite":
        async with opened(tmp_path / "catalog.db") as catalog:
            yield catalog
    else:
        async with catalog_databases.fresh() as catalog:
            yield catalog


async def test_transactions_are_told_with_how_they_ended(within: SqlCatalog) -> None:
    """Each call of the catalog is one."""
    notes = Notes()
    catalog = SqlCatalog(MeteredDatabase(within.database, notes))
    await catalog.check()
    await catalog.add_image(queued("i"))
    await catalog.get_image("i")
    with pytest.raises(ImageNotFound):
        await catalog.get_image("other")
    await catalog.close()
    with pytest.raises(CatalogError):
        await catalog.get_image("i")

    assert notes.told == [
        ("check", None),
        ("write", None),
        ("read", None),
        ("read", ImageNotFound),
        ("read", CatalogError),
    ]
    assert {what for what, _ in notes.told} == set(TRANSACTION_KINDS)


async def test_lists_have_their_turns(within: SqlCatalog) -> None:
    """Those of the database within: they do not count as other reads."""
    limit_waiting(within, 0)
    catalog = SqlCatalog(MeteredDatabase(within.database, ignore_measurement))
    catalog.list_budget = timedelta(0)
    for listed in (catalog.list_page(LONG_PAGE, MIB), catalog.list_tasks(TaskQuery())):
        with pytest.raises(ListTooSlow):
            await listed


async def test_figures_are_those_of_the_database_within(tmp_path: Path) -> None:
    """How busy it is and can be, how often it retried, and how long its log is."""
    async with opened(tmp_path / "catalog.db") as within:
        database = MeteredDatabase(within.database, ignore_measurement)

        assert (database.busy, database.second_tries) == (0, 0)
        assert database.connections_limit == within.database.connections_limit > 1
        await within.add_image(queued("i"))
        assert database.log_bytes == within.database.log_bytes
        assert (database.log_bytes or 0) > 0
