"""Transactions of a PostgreSQL catalog: all or nothing, whenever the caller leaves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import anyio
import pytest
from sqlalchemy import Connection, func, insert, select, text

from contracts import catalog_samples as samples
from contracts.catalog_databases import (
    COUNT_LOCK_WAITS,
    database_of,
    lock_waited_for,
    opened,
    other_transaction,
    require_idle,
)
from contracts.catalog_dates import ImageDatesContract
from contracts.catalog_slow_lists import SlowListsContract
from imaged.catalogs.account_tables import accounts
from imaged.catalogs.postgresql.driver import open_postgresql
from imaged.catalogs.postgresql.settings import PostgresqlSettings
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError
from imaged.core.image import Image
from support.postgresql import connected, execute

pytestmark = pytest.mark.asyncio


class TestImageDates(ImageDatesContract):
    """Lists by tag, property and member, in the order of creation."""


class TestSlowLists(SlowListsContract):
    """They have some of the connections, and are cancelled."""

    slow = "SELECT pg_sleep(60)"


def rename(image: Image) -> Image:
    """A change that shows."""
    return replace(image, name="new")


async def test_readers_see_one_state(catalog: SqlCatalog, url: str) -> None:
    """All statements of a reader see the state at its beginning, whatever is committed since."""
    count = select(func.count()).select_from(accounts)
    seen: list[int] = []

    def read(db: Connection) -> None:
        seen.append(db.execute(count).scalar_one())
        db.execute(text("SELECT pg_advisory_lock_shared(7)"))
        seen.append(db.execute(count).scalar_one())

    async with anyio.create_task_group() as tasks, connected(url) as other:
        await other.execute("SELECT pg_advisory_lock(7)")
        tasks.start_soon(catalog.database.read, read)
        await lock_waited_for(url)
        await other.execute("INSERT INTO accounts (owner, used_bytes) VALUES ('a', 0)")

    assert seen == [0, 0]
    assert await catalog.database.read(lambda db: db.execute(count).scalar_one()) == 1


async def test_readers_cannot_write(catalog: SqlCatalog) -> None:
    """The database itself refuses it."""
    fresh = insert(accounts).values(owner="b", used_bytes=0)
    with pytest.raises(CatalogError, match="read-only"):
        await catalog.database.read(lambda db: db.execute(fresh))


async def test_connections_are_set_up(catalog: SqlCatalog) -> None:
    """The required settings are in effect on every connection, whatever the server's defaults."""
    wanted = {
        "synchronous_commit": "on",  # by default it is off on this server
        "application_name": "imaged",
        "idle_in_transaction_session_timeout": "8s",
        "lock_timeout": "12s",
        "statement_timeout": "15s",
    }
    names = [*wanted, "transaction_isolation", "transaction_read_only"]

    def settings(db: Connection) -> dict[str, object]:
        return {name: db.execute(text(f"SHOW {name}")).scalar() for name in names}

    writer = {"transaction_isolation": "read committed", "transaction_read_only": "off"}
    reader = {"transaction_isolation": "repeatable read", "transaction_read_only": "on"}
    assert await catalog.database.write(settings) == wanted | writer
    assert await catalog.database.read(settings) == wanted | reader
    assert await catalog.database.write(settings) == wanted | writer


@pytest.mark.parametrize("how", ["scope", "task"])
async def test_a_cancelled_writer(catalog: SqlCatalog, url: str, how: str) -> None:
    """It leaves while it waits for a lock; it has done nothing, and leaks no connection."""
    image = await samples.add_active(catalog, "i")
    scope = anyio.CancelScope()

    async def write() -> None:
        with scope:
            await catalog.modify_image("i", rename)

    async with other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        task = asyncio.create_task(write())
        await lock_waited_for(url)
        (scope if how == "scope" else task).cancel()
        with anyio.fail_after(10):
            await asyncio.wait([task])
        require_idle(catalog)
        assert await other.fetchval(COUNT_LOCK_WAITS) == 0

    assert await catalog.get_image("i") == image
    assert (await catalog.modify_image("i", rename)).name == "new"


async def test_a_long_wait_for_a_lock_is_an_error(catalog: SqlCatalog, url: str) -> None:
    """Every call has a time limit, and what was begun is rolled back."""
    image = await catalog.add_image(samples.queued("i"))
    database_of(catalog).settings = PostgresqlSettings(transaction_seconds=0.5)

    async with other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        with pytest.raises(CatalogError, match=r"did not answer within 0\.5 seconds"):
            await catalog.modify_image("i", rename)
        require_idle(catalog)

    assert await samples.all_images(catalog) == [image]


async def test_a_lock_that_is_waited_for_in_vain(catalog: SqlCatalog, url: str) -> None:
    """The server gives up before the client does, and can give the reason."""
    await catalog.add_image(samples.queued("i"))

    def wait(db: Connection) -> None:
        db.execute(text("SET LOCAL lock_timeout = '100ms'"))
        db.execute(text("SELECT FROM images FOR UPDATE"))

    async with other_transaction(url) as other:
        await other.execute("SELECT FROM images FOR UPDATE")
        with pytest.raises(CatalogError, match="is busy: a lock was not released in time"):
            await catalog.database.write(wait)


async def test_a_frozen_transaction_is_ended(catalog: SqlCatalog, url: str) -> None:
    """A frozen instance does not keep its locks: the server ends its transaction."""
    await catalog.add_image(samples.queued("i"))
    async with connected(url) as frozen:
        await frozen.execute("SET idle_in_transaction_session_timeout = '200ms'")
        await frozen.execute("BEGIN")
        await frozen.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        with anyio.fail_after(10):
            assert (await catalog.modify_image("i", rename)).name == "new"


async def test_a_statement_that_no_longer_fits(catalog: SqlCatalog, url: str) -> None:
    """After a migration, connections with cached plans recover by themselves."""
    image = await catalog.add_image(samples.queued("i"))
    await asyncio.gather(*[catalog.get_image("i") for _ in range(20)])
    await execute(url, "ALTER TABLE images ALTER COLUMN name TYPE VARCHAR(500)")

    assert await asyncio.gather(*[catalog.get_image("i") for _ in range(20)]) == [image] * 20


async def test_closing_waits_for_what_runs(url: str) -> None:
    """Running transactions are completed, and then no connection is open."""
    catalog = await open_postgresql(url)
    async with anyio.create_task_group() as tasks, other_transaction(url) as other:
        await other.execute("LOCK TABLE images IN EXCLUSIVE MODE")
        tasks.start_soon(catalog.add_image, samples.queued("i"))
        await lock_waited_for(url)
        tasks.start_soon(catalog.close)

    assert database_of(catalog).connections == 0
    async with opened(url) as again:
        assert [image.id for image in await samples.all_images(again)] == ["i"]
