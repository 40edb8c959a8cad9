"""A PostgreSQL catalog whose sessions are lent to it for one transaction each.

Here without a pooler: nothing may depend on what an earlier transaction left in the session.
``tests/system/test_pgbouncer.py`` has the real pooler.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from contracts.catalog_databases import require_idle
from contracts.catalog_queue import LeasesContract
from contracts.catalog_races import RacesContract
from imaged.catalogs.postgresql.driver import PostgresqlDatabase
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError
from support.postgresql import fresh_database

pytestmark = pytest.mark.asyncio

LEFT = "SELECT count(*) FROM pg_prepared_statements"
LIMITS = {
    "idle_in_transaction_session_timeout": "8s",
    "lock_timeout": "12s",
    "statement_timeout": "15s",
    "synchronous_commit": "on",  # by default it is off on this server
}


@pytest_asyncio.fixture
async def catalog() -> AsyncIterator[SqlCatalog]:
    """Empty, of a database whose pooler is undetected, so it must expect one."""
    async with fresh_database() as url:
        catalog = SqlCatalog(PostgresqlDatabase(url))
        yield catalog
        require_idle(catalog)
        await catalog.close()


class TestLentPostgresqlCatalog(LeasesContract, RacesContract):
    """The most important parts."""

    pytestmark = pytest.mark.asyncio


async def test_limits_hold_in_each_transaction(catalog: SqlCatalog) -> None:
    """And end with it: the next user of the session may be another client."""

    def look(db: Connection) -> dict[str, object]:
        return {name: db.execute(text(f"SHOW {name}")).scalar() for name in LIMITS}

    def leave(db: Connection) -> dict[str, object]:
        """End the transaction, and read from the next one of the same session."""
        db.execute(text("COMMIT"))
        return look(db)

    for run in (catalog.database.read, catalog.database.write, catalog.database.read):
        assert await run(look) == LIMITS
    assert set((await catalog.database.write(leave)).values()) == {"0", "off"}


async def test_a_statement_without_an_end_is_ended(catalog: SqlCatalog) -> None:
    """By the server: the limit is in effect where the statement runs."""

    def work(db: Connection) -> None:
        db.execute(text("SELECT set_config('statement_timeout', '50ms', true)"))
        db.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(CatalogError, match="took too long for one statement"):
        await catalog.database.read(work)


async def test_no_statement_is_left_in_a_session(catalog: SqlCatalog) -> None:
    """A named statement would collide with another client's, or be missing."""
    await catalog.get_account("a")
    assert await catalog.database.read(lambda db: db.execute(text(LEFT)).scalar_one()) == 0
