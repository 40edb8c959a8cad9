"""Truncating SQLite's write-ahead log without long waits."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import pytest_asyncio
from sqlalchemy import Connection, select
from structlog.testing import capture_logs

from contracts.catalog_files import database_of, no_file_beyond, opened, raw
from contracts.catalog_samples import all_images, queued
from contracts.catalog_slow_lists import limit_waiting
from imaged.catalogs.account_tables import accounts
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite import driver
from imaged.catalogs.sqlite.driver import SqliteSettings
from imaged.core.limits import MIB
from imaged.core.list_plan import LIST_BUDGET
from support.quotas import limit_total, limits
from support.waiting import until

pytestmark = pytest.mark.asyncio

SOON_SECONDS = 15
LONG_TEXTS = ["x" * 200_000] * 6


@pytest_asyncio.fixture
async def catalog(path: Path) -> AsyncIterator[SqlCatalog]:
    """Empty; its log is truncated after every write."""
    async with opened(path, SqliteSettings(0, shorten_every_seconds=0)) as catalog:
        yield catalog


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Ends the slow readers."""
    event = threading.Event()
    yield event
    event.set()


def slow(let_go: threading.Event) -> Callable[[Connection], bool]:
    """A transaction that reads until it is told to end."""

    def read(db: Connection) -> bool:
        db.execute(select(accounts.c.owner)).all()  # SQLite counts a reader from here
        return let_go.wait(60)

    return read


async def until_busy(catalog: SqlCatalog, connections: int) -> None:
    """Wait until this many are in use."""

    async def are_busy() -> bool:
        return database_of(catalog).busy == connections

    await until(are_busy)


async def until_committed(path: Path, count: int) -> None:
    """Wait until another process sees this many accounts."""

    async def are_there() -> bool:
        with raw(path) as other:
            return bool(other.execute("SELECT count(*) = ? FROM accounts", (count,)).fetchone()[0])

    await until(are_there)


async def test_a_slow_list_holds_up_no_reader(
    catalog: SqlCatalog, path: Path, let_go: threading.Event
) -> None:
    """The log is truncated when the list has ended; until then records are read."""
    limit_waiting(catalog, 60)
    async with anyio.create_task_group() as crowd:
        crowd.start_soon(database_of(catalog).read_list, slow(let_go), LIST_BUDGET)
        await until_busy(catalog, 1)
        crowd.start_soon(limit_total, catalog, "a", 1)
        await until_committed(path, 1)

        with anyio.fail_after(SOON_SECONDS):
            for _ in range(20):
                assert (await catalog.get_account("a")).limits == limits(total=1)
                await anyio.lowlevel.checkpoint()
        let_go.set()

    assert database_of(catalog).log_bytes == 0


async def test_the_next_reader_begins_when_the_log_is_short(
    catalog: SqlCatalog, path: Path, let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With readers that overlap, SQLite itself would never restart it."""
    monkeypatch.setattr(driver, "MAX_READ_PAUSE_SECONDS", 60)
    database = database_of(catalog)
    lengths: list[int] = []

    async def read_next() -> None:
        lengths.append(await database.read(lambda _: database.log_bytes))

    with raw(path) as other:
        await write_while_read(catalog, other, "x")
    async with anyio.create_task_group() as crowd:
        crowd.start_soon(database.read, slow(let_go))
        await until_busy(catalog, 1)
        for work in (database.shorten_log, read_next):
            crowd.start_soon(work)
            await anyio.wait_all_tasks_blocked()
        let_go.set()

    assert lengths == [0]


async def test_a_slow_write_holds_up_no_reader(
    catalog: SqlCatalog, path: Path, let_go: threading.Event
) -> None:
    """Shortening the log, which needs the writer's connection, is left to a later call."""
    database = database_of(catalog)
    with raw(path) as other:
        await write_while_read(catalog, other, "x")
    async with anyio.create_task_group() as crowd:
        crowd.start_soon(database.write, slow(let_go))
        await until_busy(catalog, 1)
        with anyio.fail_after(SOON_SECONDS):
            await database.shorten_log()
            assert len(await all_images(catalog)) == 1
        let_go.set()


async def test_slow_readers_are_not_waited_for(
    catalog: SqlCatalog, let_go: threading.Event
) -> None:
    """A write returns, and other readers go on, during one slow read."""
    async with anyio.create_task_group() as crowd:
        crowd.start_soon(database_of(catalog).read, slow(let_go))
        await until_busy(catalog, 1)
        with anyio.fail_after(SOON_SECONDS):
            await limit_total(catalog, "a", 1)
            assert (await catalog.get_account("a")).limits == limits(total=1)
        let_go.set()


async def test_two_writers_that_shorten_it_at_once(
    catalog: SqlCatalog, path: Path, let_go: threading.Event
) -> None:
    """Neither waits for the other without end."""
    database = database_of(catalog)
    async with anyio.create_task_group() as crowd:
        for _ in range(driver.READ_CONNECTIONS):
            crowd.start_soon(database.read, slow(let_go))
        await until_busy(catalog, driver.READ_CONNECTIONS)
        for owner in ("a", "b"):
            crowd.start_soon(limit_total, catalog, owner, 1)
        await until_committed(path, 2)
        let_go.set()
        with anyio.fail_after(SOON_SECONDS):
            await until_busy(catalog, 0)
            assert (await catalog.get_account("a")).limits == limits(total=1)


async def test_closing_while_it_is_shortened(
    catalog: SqlCatalog, path: Path, let_go: threading.Event
) -> None:
    """Both end, and the writer gets its answer."""
    database = database_of(catalog)
    answers: list[object] = []

    async def write() -> None:
        answers.append(await limit_total(catalog, "a", 1))

    with anyio.fail_after(SOON_SECONDS):
        async with anyio.create_task_group() as crowd:
            for _ in range(driver.READ_CONNECTIONS):
                crowd.start_soon(database.read, slow(let_go))
            await until_busy(catalog, driver.READ_CONNECTIONS)
            crowd.start_soon(write)
            await until_committed(path, 1)
            crowd.start_soon(catalog.close)
            await anyio.wait_all_tasks_blocked()
            let_go.set()

    assert len(answers) == 1


async def test_a_log_that_cannot_be_shortened(catalog: SqlCatalog) -> None:
    """The write is committed and its caller told so; the operator gets the error."""
    for number in range(10):
        await catalog.add_image(queued(f"i{number}", "x" * 400_000))
    with no_file_beyond(2 * MIB), capture_logs() as logs:
        await catalog.add_image(queued("j", "x" * 400_000))

    assert [line["event"] for line in logs] == ["catalog.log_not_shortened", "image.created"]
    assert "its disk reports an error" in logs[0]["error"]
    assert len(await all_images(catalog)) == 11
    await limit_total(catalog, "a", 1)
    assert database_of(catalog).log_bytes == 0


async def test_a_long_log_is_cut_off_although_nothing_is_written(
    catalog: SqlCatalog, path: Path
) -> None:
    """Not as long as another process reads it, but then at the next call."""
    database = database_of(catalog)
    with raw(path) as other:
        await write_while_read(catalog, other, *LONG_TEXTS)
        await database.shorten_log()
        assert database.log_bytes > 1_000_000
        other.execute("COMMIT")
        await database.shorten_log()

    assert database.log_bytes == 0
    assert len(await all_images(catalog)) == 6


async def test_a_log_that_begins_anew_is_cut_off(path: Path) -> None:
    """By SQLite itself, when readers allow it."""
    async with opened(path, SqliteSettings(500_000, shorten_every_seconds=3600)) as catalog:
        with raw(path) as other:
            await write_while_read(catalog, other, *LONG_TEXTS)
            other.execute("COMMIT")
            other.execute("PRAGMA wal_checkpoint")
        await catalog.add_image(queued("later"))

        assert 0 < database_of(catalog).log_bytes <= 500_000


async def write_while_read(catalog: SqlCatalog, other: sqlite3.Connection, *texts: str) -> None:
    """One image with each text, while a reader in another process keeps the log from restarting."""
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM accounts").fetchone()
    for number, text in enumerate(texts):
        await catalog.add_image(queued(f"i{number}", text))
