"""PostgreSQL databases for the contract: one for each test, copied from a template."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import AsyncAdaptedQueuePool

from contracts.catalog_files import PATIENCE
from imaged.catalogs.postgresql.driver import PostgresqlDatabase, open_postgresql
from imaged.catalogs.sql_catalog import SqlCatalog
from support.postgresql import connected, fresh_database
from support.waiting import until

T = TypeVar("T")

#: How many wait for a lock.
COUNT_LOCK_WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""

#: Ends every connection of imaged.
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'imaged'
"""


SCHEMA = """
    SELECT format('%s.%s %s %s %s %s', table_name, column_name, data_type, is_nullable,
        column_default, collation_name)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlCatalog]:
    """The catalog of this database; at the end no transaction runs, and no connection is open."""
    catalog = await open_postgresql(url)
    catalog.list_budget = PATIENCE
    try:
        yield catalog
        require_idle(catalog)
    finally:
        await catalog.close()
    assert database_of(catalog).connections == 0


@asynccontextmanager
async def fresh() -> AsyncIterator[SqlCatalog]:
    """The catalog of a database of its own."""
    async with fresh_database() as url, opened(url) as catalog:
        yield catalog


def database_of(catalog: SqlCatalog) -> PostgresqlDatabase:
    """The object that runs its transactions."""
    assert isinstance(catalog.database, PostgresqlDatabase)
    return catalog.database


def require_idle(catalog: SqlCatalog) -> None:
    """No transaction is running, and no connection is in use."""
    database = database_of(catalog)
    assert isinstance(database.engine.pool, AsyncAdaptedQueuePool)
    assert (database.busy, database.engine.pool.checkedout()) == (0, 0)


async def use_all_connections(catalog: SqlCatalog, image_id: str) -> None:
    """Fill the pool."""
    await asyncio.gather(*[catalog.get_image(image_id) for _ in range(30)])


@asynccontextmanager
async def other_transaction(url: str) -> AsyncIterator[Any]:
    """A foreign connection, in a transaction that is committed at the end."""
    async with connected(url) as other, other.transaction():
        yield other


async def lock_waited_for(url: str) -> None:
    """Wait until a transaction waits for another one's lock."""
    async with connected(url) as watcher:

        async def is_waited_for() -> bool:
            return bool(await watcher.fetchval(COUNT_LOCK_WAITS))

        await until(is_waited_for)


async def behind_lock(url: str, statements: str, work: Coroutine[Any, Any, T]) -> T:
    """Run this until it waits for a lock of another transaction, which is committed then."""
    async with other_transaction(url) as other:
        await other.execute(statements)
        waiting = asyncio.create_task(work)
        await lock_waited_for(url)
        assert not waiting.done()
    return await waiting


async def schema_of(url: str) -> set[str]:
    """Every column, index and constraint, as the database describes it."""
    async with connected(url) as db:
        return {row[0] for row in await db.fetch(SCHEMA) if "alembic_version" not in row[0]}
