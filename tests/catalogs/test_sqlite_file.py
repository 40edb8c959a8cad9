"""Features of SQLite catalogs only: one file, several processes, and faults of files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from sqlalchemy import Connection, func, select

from contracts import catalog_stress_process
from contracts.catalog_audit import audit
from contracts.catalog_dates import ImageDatesContract
from contracts.catalog_files import database_of, names_in, no_file_beyond, opened, raw
from contracts.catalog_samples import add_active, all_images, queued
from contracts.catalog_slow_lists import SlowListsContract
from contracts.catalog_stress import add_roots
from imaged.catalogs.account_tables import accounts
from imaged.catalogs.connect import inspect_catalog, is_missing, is_new, open_catalog
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite.catalog_file import open_sqlite, path_of
from imaged.core.errors import CatalogError, CatalogFull

pytestmark = pytest.mark.asyncio

PROCESSES = 3


@pytest_asyncio.fixture
async def catalog(path: Path) -> AsyncIterator[SqlCatalog]:
    """Empty."""
    async with opened(path) as catalog:
        yield catalog


class TestImageDates(ImageDatesContract):
    """Lists by tag, property and member, in the order of creation."""


class TestSlowLists(SlowListsContract):
    """They have connections of their own, and are interrupted."""

    slow = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


async def test_several_processes_on_one_file(catalog: SqlCatalog, path: Path) -> None:
    """No error in any of them, no deadlock, and a consistent catalog."""
    await add_roots(catalog)

    await catalog_stress_process.hammer(f"sqlite:///{path}")

    await audit(catalog)


async def test_the_daemon_can_write_what_root_creates(path: Path) -> None:
    """The owner of the folder gets the file. Other users than root have nothing to give away."""
    daemon = 12345 if os.geteuid() == 0 else os.geteuid()
    os.chown(path.parent, daemon, -1)

    async with opened(path):
        assert {file.stat().st_uid for file in path.parent.iterdir()} == {daemon}


async def test_processes_that_start_at_the_same_moment(path: Path) -> None:
    """One creates the file, the others find it; none fails."""
    command = [sys.executable, catalog_stress_process.__file__, f"sqlite:///{path}", "early", "0"]
    children = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: ASYNC220 - together
        for _ in range(PROCESSES)
    ]
    for child in children:
        _, said = await anyio.to_thread.run_sync(child.communicate)
        assert (child.returncode, said) == (0, b"")

    async with opened(path) as catalog:
        await catalog.check()


async def test_a_writer_waits_for_the_lock(catalog: SqlCatalog, path: Path) -> None:
    """While another process has it, a writer waits, readers do not; then it succeeds."""
    image = await add_active(catalog, "i")
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(catalog.add_image, queued("j"))
            with anyio.move_on_after(0.5):
                while await catalog.get_image("i") == image:  # noqa: ASYNC110 - a reader, all the time
                    await anyio.sleep(0.01)
            assert await all_images(catalog) == [image]
            other.execute("ROLLBACK")

    assert {image.id for image in await all_images(catalog)} == {"i", "j"}


async def test_a_waiting_writer_can_be_cancelled(catalog: SqlCatalog, path: Path) -> None:
    """A cancelled caller returns, and its change is not made later."""
    with raw(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with anyio.move_on_after(0.3) as scope:
            await catalog.add_image(queued("i"))
        assert scope.cancelled_caught
        other.execute("ROLLBACK")

    assert await all_images(catalog) == []


async def test_opening_waits_for_an_exclusive_lock(path: Path) -> None:
    """A process that repairs or compacts the file locks it for a while."""
    async with opened(path):
        pass
    waited = anyio.Event()

    async def open_it() -> None:
        async with opened(path) as catalog:
            await catalog.add_image(queued("i"))
            assert len(await all_images(catalog)) == 1
        waited.set()

    with raw(path) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_it)
            with anyio.move_on_after(0.4):
                await waited.wait()
            assert not waited.is_set()
            other.close()

    assert waited.is_set()


async def test_readers_see_one_state(catalog: SqlCatalog, path: Path) -> None:
    """All statements of a reader see the state at its beginning."""
    count = select(func.count()).select_from(accounts)
    with raw(path) as other:

        def twice(db: Connection) -> tuple[int, int]:
            first = db.execute(count).scalar_one()
            other.execute("INSERT INTO accounts (owner, used_bytes) VALUES ('a', 0)")
            return first, db.execute(count).scalar_one()

        assert await catalog.database.read(twice) == (0, 0)
    assert await catalog.database.read(lambda db: db.execute(count).scalar_one()) == 1


async def test_commits_are_durable(catalog: SqlCatalog) -> None:
    """The settings for durability are in effect on every connection."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}

    def settings(db: Connection) -> dict[str, object]:
        return {name: db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}

    assert await catalog.database.write(settings) == wanted
    assert await catalog.database.read(settings) == wanted


async def test_transactions_run_beside_the_event_loop(catalog: SqlCatalog) -> None:
    """No transaction runs in the event loop's thread, and no thread is left at the end."""
    assert await catalog.database.write(lambda _: threading.get_ident()) != threading.get_ident()
    assert await catalog.database.read(lambda _: threading.get_ident()) != threading.get_ident()
    assert database_of(catalog).busy == 0


async def test_a_file_that_may_not_be_written(catalog: SqlCatalog) -> None:
    """The error names the file and the reason; nothing is written, and later calls work."""
    with pragma(catalog, "query_only = ON", "query_only = OFF"):
        with pytest.raises(CatalogError, match="is read-only") as error:
            await catalog.add_image(queued("i"))
        assert "catalog.db" in str(error.value)
        assert await all_images(catalog) == []

    await catalog.add_image(queued("i"))


async def test_a_full_disk_is_noticed_until_there_is_room(catalog: SqlCatalog) -> None:
    """A check reports it after the first failed write, though small writes may still succeed."""
    await catalog.add_image(queued("i"))
    await catalog.check()
    with full_disk(catalog):
        with pytest.raises(CatalogFull, match="its disk is full"):
            await catalog.add_image(queued("j", "x" * 100_000))
        for _ in range(2):
            with pytest.raises(CatalogFull, match="its disk is full"):
                await catalog.check()

    await catalog.check()
    assert [image.id for image in await all_images(catalog)] == ["i"]


async def test_a_trial_needs_room_and_leaves_nothing(catalog: SqlCatalog) -> None:
    """It reaches the disk, although it is rolled back."""
    with no_file_beyond(100_000), pytest.raises(CatalogError, match="its disk reports an error"):
        await catalog.database.check_writable()

    await catalog.database.check_writable()
    assert (await catalog.summarize()).instances == []


@contextmanager
def pragma(catalog: SqlCatalog, begin: str, end: str) -> Iterator[None]:
    """Changes how the writer uses the file."""
    with database_of(catalog).writer.connect() as db:
        db.connection.driver_connection.execute(f"PRAGMA {begin}")  # type: ignore[union-attr]
    yield
    with database_of(catalog).writer.connect() as db:
        db.connection.driver_connection.execute(f"PRAGMA {end}")  # type: ignore[union-attr]


def full_disk(catalog: SqlCatalog) -> AbstractContextManager[None]:
    """Limits the file as a full disk would."""
    return pragma(catalog, "max_page_count = 1", "max_page_count = 1000000")


async def test_a_missing_folder(tmp_path: Path) -> None:
    """The catalog creates no folders."""
    with pytest.raises(CatalogError, match="its folder is missing"):
        await open_sqlite(tmp_path / "none" / "catalog.db")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("has_header", [False, True])
async def test_a_file_without_tables_is_no_catalog(path: Path, *, has_header: bool) -> None:
    """One that was created empty, or by a killed process, counts as missing, and inspecting it does
    not change that. So no new catalog is created in it over stores that have data.
    """
    await anyio.Path(path).touch()
    if has_header:
        with raw(path) as other:
            other.execute("PRAGMA journal_mode = WAL")
    data, url = await anyio.Path(path).read_bytes(), f"sqlite:///{path}"
    assert bool(data) is has_header

    for _ in range(2):
        assert is_missing(url)
        assert await is_new(url)
        await inspect_catalog(url)
    assert await anyio.Path(path).read_bytes() == data

    async with opened(path) as catalog:
        assert not is_missing(url)  # with all of it in the log
        await catalog.add_image(queued("i"))
    assert not is_missing(url)


async def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    """It does not count as missing: opening it gives the error."""
    url = f"sqlite:///{tmp_path}"
    assert not is_missing(url)
    for attempt in (inspect_catalog, open_sqlite):
        with pytest.raises(CatalogError, match="cannot be opened"):
            await attempt(url)


async def test_a_file_that_is_no_database(path: Path) -> None:
    """A foreign file is left unchanged."""
    await anyio.Path(path).write_bytes(b"#!/bin/sh\n" * 500)
    with pytest.raises(CatalogError, match="is not a database"):
        await open_sqlite(path)
    assert await anyio.Path(path).read_bytes() == b"#!/bin/sh\n" * 500


async def test_a_database_of_something_else(path: Path) -> None:
    """A database with foreign tables is left unchanged."""
    with raw(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(CatalogError, match="something else"):
        await open_sqlite(path)
    with raw(path) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("recipes",)]


async def test_a_damaged_file(path: Path) -> None:
    """Damage is an error of the catalog, with the remedy."""
    async with opened(path) as catalog:
        await catalog.add_image(queued("i"))
    data = await anyio.Path(path).read_bytes()
    await anyio.Path(path).write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))

    with pytest.raises(CatalogError, match="is damaged; restore it"):
        async with opened(path) as catalog:
            await all_images(catalog)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgresql://u:hidden@h/db",
        "catalog.db",
        "",
    ],
)
async def test_urls_that_name_no_file(url: str) -> None:
    """A URL of anything else is refused."""
    with pytest.raises(CatalogError, match="URL") as error:
        path_of(url)
    assert "hidden" not in str(error.value)


async def test_urls_name_files(path: Path) -> None:
    """A URL and a path open the same file."""
    assert path_of(f"sqlite:///{path}") == path
    catalog = await open_sqlite(f"sqlite:///{path}")
    await catalog.add_image(queued("i"))
    await catalog.close()

    async with opened(path) as again:
        assert [image.id for image in await all_images(again)] == ["i"]


async def test_a_copy_of_the_closed_file_is_whole(path: Path, tmp_path: Path) -> None:
    """Closing leaves one file with all data, and an empty one for the turns of writers."""
    async with opened(path) as catalog:
        await catalog.add_image(queued("i"))
    assert sorted(names_in(tmp_path)) == ["catalog.db", "catalog.db-writers"]

    async with opened(Path(shutil.copy(path, tmp_path / "copy.db"))) as copy:
        assert [image.id for image in await all_images(copy)] == ["i"]
        with raw(path) as other, pytest.raises(sqlite3.IntegrityError):
            other.execute("INSERT INTO images SELECT * FROM images")


async def test_a_child_opens_it_while_another_process_writes(
    catalog: SqlCatalog, path: Path
) -> None:
    """Its daemon has migrated it: a process that replaces a dead one waits for no writer."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        child = await open_catalog(f"sqlite:///{path}", is_child=True)

        assert await child.list_places() == await catalog.list_places()
        await child.close()
