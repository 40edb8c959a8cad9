"""PostgreSQL behind PgBouncer, as Debian has it, in each of its modes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from contracts.catalog_databases import database_of, opened
from contracts.catalog_images import ImagesContract
from contracts.catalog_lists import Fresh
from contracts.catalog_queue import LeasesContract
from contracts.catalog_races import RacesContract
from contracts.catalog_status import StatusContract
from imaged.catalogs.connect import inspect_catalog
from imaged.catalogs.postgresql.driver import PostgresqlDatabase
from imaged.catalogs.postgresql.migrate import migrate_postgresql
from imaged.catalogs.postgresql.url import SESSION_SETTINGS
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError
from support.pgbouncer import PgBouncer, pgbouncer
from support.postgresql import empty_database, fresh_database, shared_url

pytestmark = [pytest.mark.system, pytest.mark.asyncio]

MODES = {"session": False, "transaction": True}


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """What a session of the server is lent for."""
    return str(request.param)


@pytest.fixture(scope="module")
def pooler(mode: str) -> Iterator[PgBouncer]:
    """With few sessions where they are shared: so transactions of ours do meet."""
    size = "3" if MODES[mode] else "20"
    with pgbouncer(shared_url(), pool_mode=mode, default_pool_size=size) as pooler:
        yield pooler


@asynccontextmanager
async def behind(pooler: PgBouncer) -> AsyncIterator[SqlCatalog]:
    """The catalog of a database of its own, through the pooler."""
    async with fresh_database() as url, opened(pooler.url_of(url)) as catalog:
        yield catalog


@pytest.mark.system
class TestCatalogBehindPgBouncer(ImagesContract, LeasesContract, RacesContract, StatusContract):
    """It sits the exam, where that is about transactions."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def fresh(self, pooler: PgBouncer) -> Fresh:
        """A database for each example."""

        def make() -> AbstractAsyncContextManager[SqlCatalog]:
            return behind(pooler)

        return make

    @pytest_asyncio.fixture
    async def catalog(self, fresh: Fresh) -> AsyncIterator[SqlCatalog]:
        """Empty, and audited at the end."""
        async with fresh() as catalog:
            yield catalog  # type: ignore[misc]


async def test_the_mode_is_found(pooler: PgBouncer, mode: str) -> None:
    """By itself, without a setting."""
    async with behind(pooler) as catalog:
        assert database_of(catalog).connector.is_pooled is MODES[mode]


@pytest.mark.parametrize("one_mode", MODES)
async def test_the_mode_is_found_where_there_is_one_session(one_mode: str) -> None:
    """A second connection waits in vain for a session that is lent as a session."""
    async with fresh_database() as url:
        with pgbouncer(shared_url(), pool_mode=one_mode, default_pool_size="1") as pooler:
            database = PostgresqlDatabase(f"{pooler.url_of(url)}?connect_timeout=2")
            await database.connector.detect_pooler()
            await database.close()

    assert database.connector.is_pooled is MODES[one_mode]


@pytest.mark.parametrize("busy", [1, 8])
async def test_the_mode_is_found_while_others_work(pooler: PgBouncer, mode: str, busy: int) -> None:
    """Their transactions share the same sessions."""
    async with fresh_database() as url, opened(pooler.url_of(url)) as other:

        async def work() -> None:
            while True:
                await other.summarize()

        crowd = [asyncio.create_task(work()) for _ in range(busy)]
        for _ in range(5):
            async with opened(pooler.url_of(url)) as catalog:
                assert database_of(catalog).connector.is_pooled is MODES[mode]
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)


async def test_limits_are_in_force(pooler: PgBouncer) -> None:
    """In every transaction, whichever session it is in."""
    wanted = {name: value for name, value in SESSION_SETTINGS.items() if name.endswith("_timeout")}

    def look(db: Connection) -> dict[str, object]:
        db.execute(text("SELECT pg_sleep(0.01)"))  # so that all sessions are in use
        return {name: db.execute(text(f"SHOW {name}")).scalar() for name in wanted}

    async with behind(pooler) as catalog:
        reads = [catalog.database.read(look) for _ in range(12)]
        writes = [catalog.database.write(look) for _ in range(12)]
        assert await asyncio.gather(*reads, *writes) == [wanted] * 24


@pytest.mark.parametrize("mode", ["transaction"], indirect=True)
async def test_nothing_is_left_to_others(pooler: PgBouncer) -> None:
    """A shared session has the settings afterwards that it had before. One that is lent as a
    session is cleaned by the pooler.
    """
    shown = text("SHOW statement_timeout")
    async with behind(pooler) as catalog:
        await catalog.check()

        def look(db: Connection) -> object:
            db.execute(text("COMMIT"))
            return db.execute(shown).scalar()

        assert await catalog.database.write(look) == "0"


async def test_migrating_through_it(pooler: PgBouncer) -> None:
    """Also the commands reach the database so."""
    async with empty_database() as url:
        await migrate_postgresql(pooler.url_of(url))
        await inspect_catalog(pooler.url_of(url))


async def test_the_error_of_the_pooler_is_passed_on() -> None:
    """Statements pooled, and a parameter that it does not let through."""
    async with fresh_database() as url:
        with (
            pgbouncer(shared_url(), pool_mode="statement") as pooler,
            pytest.raises(CatalogError, match="not allowed in statement pooling mode"),
        ):
            await inspect_catalog(pooler.url_of(url))
        with (
            pgbouncer(shared_url(), pool_mode="session") as pooler,
            pytest.raises(CatalogError, match="unsupported startup parameter: options"),
        ):
            await inspect_catalog(f"{pooler.url_of(url)}?options=-cgeqo%3Doff")
