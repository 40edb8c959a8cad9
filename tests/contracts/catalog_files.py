"""SQLite files for the contract: migrated once, copied for each test."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite.driver import SqliteDatabase, open_sqlite


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqlCatalog]:
    """The catalog of this file; at the end no connection may be in use, and then none is open."""
    catalog = await open_sqlite(path)
    try:
        yield catalog
        assert database_of(catalog).busy == 0
    finally:
        await catalog.close()


def database_of(catalog: SqlCatalog) -> SqliteDatabase:
    """The object that runs its transactions."""
    assert isinstance(catalog.database, SqliteDatabase)
    return catalog.database


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another process opens it."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as db:
        yield db


def names_in(folder: Path) -> list[str]:
    """The names of all files there."""
    return [file.name for file in folder.iterdir()]
