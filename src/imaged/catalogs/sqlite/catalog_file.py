"""The file of a catalog: opened, created, migrated and inspected."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyio import to_thread
from anyio.lowlevel import checkpoint
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from imaged.catalogs import migrations
from imaged.catalogs.image_dates import DATED_TABLES, fill_some
from imaged.catalogs.migrations import Migration
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite.driver import SqliteDatabase
from imaged.catalogs.sqlite.engine import (
    BUSY_TIMEOUT_SECONDS,
    DatabaseBusy,
    create_for_daemon,
    make_engine,
    run_transaction,
)
from imaged.core.errors import CatalogError


async def open_sqlite(where: str | Path) -> SqlCatalog:
    """Open the catalog of a URL or a path; it is created and migrated if necessary.

    Raises CatalogError if the file cannot be opened or is something else; CatalogTooNew.
    """
    path = where if isinstance(where, Path) else path_of(where)
    await migrate_sqlite(path)
    return SqlCatalog(SqliteDatabase(path))


async def open_migrated_sqlite(url: str) -> SqlCatalog:
    """Open a catalog that another process of this instance has opened: nothing is written, so no
    writer is waited for. One that was replaced meanwhile is migrated.

    Raises CatalogError, CatalogTooNew.
    """
    return await open_sqlite_if_current(url) or await open_sqlite(url)


async def open_sqlite_if_current(url: str) -> SqlCatalog | None:
    """Open the catalog of an existing file; None if it would have to be migrated.

    Raises CatalogError, CatalogTooNew.
    """
    database = SqliteDatabase(path_of(url))
    try:
        if not await database.read(migrations.missing_steps):
            return SqlCatalog(database)
    except BaseException:
        await database.close()
        raise
    await database.close()
    return None


async def migrate_sqlite(path: Path, *, contract: bool = False) -> Migration:
    """Create and migrate the file if necessary. Waits for its writers.

    Raises CatalogError, CatalogTooNew.
    """
    while True:
        try:
            return await to_thread.run_sync(partial(migrate_once, path, contract=contract))
        except DatabaseBusy:
            await checkpoint()


async def inspect_sqlite(path: Path) -> None:
    """Check that the file can be opened and written, or that a missing one can be created.

    Raises CatalogError, CatalogTooNew.
    """
    if not has_tables(path):
        _require_room(path)
        return
    database = SqliteDatabase(path)
    try:
        if not await database.read(migrations.missing_steps):
            await database.check_writable()
    finally:
        await database.close()


def has_tables(path: Path) -> bool:
    """Whether the file has any table. One without tables counts as missing: it was created empty,
    or by a process that was killed while creating a catalog.

    Changes nothing. Returns True if that cannot be determined: opening the file then gives the
    error.
    """
    try:
        if not path.exists():
            return False
        where = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(where, uri=True, timeout=BUSY_TIMEOUT_SECONDS)) as file:
            return file.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None
    except (OSError, sqlite3.Error):
        return True


def migrate_once(path: Path, *, contract: bool = False) -> Migration:
    """Create and migrate the file if necessary.

    Raises CatalogError, and DatabaseBusy if another process does the same, or writes: then retry.
    """
    if not path.parent.is_dir():
        raise CatalogError(f"The catalog {path} cannot be opened: its folder is missing.")
    create_for_daemon(path)
    engine = make_engine(path, begin="BEGIN IMMEDIATE", connections=1)
    run = partial(run_transaction, engine, path)
    try:
        begun = run(migrations.apply_until_filling)
        if run(migrations.is_to_fill):
            for table in DATED_TABLES:
                after: str | None = ""
                while after is not None:
                    after = run(partial(fill_some, table=table, after=after))
        ended = run(partial(migrations.apply_steps, contract=contract))
        return replace(ended, before=begun.before)
    finally:
        engine.dispose()


def path_of(url: str) -> Path:
    """The file that a URL like ``sqlite:////var/lib/…`` names. Raises CatalogError."""
    try:
        parts = make_url(url)
    except ArgumentError as error:
        raise CatalogError("The catalog's URL cannot be parsed.") from error
    if parts.get_backend_name() != "sqlite" or parts.database in {None, "", ":memory:"}:
        shown = parts.render_as_string(hide_password=True)
        raise CatalogError(f"The catalog's URL {shown} names no SQLite file.")
    return Path(str(parts.database))


def _require_room(path: Path) -> None:
    """Raise CatalogError if no catalog can be created there."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        why = "its folder is missing, or may not be written to"
        raise CatalogError(f"The catalog {path} cannot be made: {why}.")
