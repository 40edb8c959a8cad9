"""SQLite files for the contract: migrated once, copied for each test."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite.catalog_file import migrate_sqlite
from imaged.catalogs.sqlite.driver import SqliteDatabase, SqliteSettings
from support.waiting import wait_until

PATIENCE = timedelta(seconds=20)  # of lists: tests share their processors


@asynccontextmanager
async def opened(path: Path, settings: SqliteSettings | None = None) -> AsyncIterator[SqlCatalog]:
    """The catalog of this file; at the end no connection may be in use, and then none is open."""
    await migrate_sqlite(path)
    catalog = SqlCatalog(SqliteDatabase(path, settings))
    catalog.list_budget = PATIENCE
    try:
        yield catalog
        wait_until(lambda: database_of(catalog).busy == 0)  # a writer may look for a lock
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


@contextmanager
def no_file_beyond(size_bytes: int) -> Iterator[None]:
    """Lets the disk refuse writes behind this offset of a file."""
    set_limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    set_limit((size_bytes, hard))
    try:
        yield
    finally:
        set_limit((soft, hard))


def names_in(folder: Path) -> list[str]:
    """The names of all files there."""
    return [file.name for file in folder.iterdir()]


def schema_of(path: Path) -> set[tuple[str, frozenset[str]]]:
    """Every table and index, as the database describes it, with sorted clauses."""
    with raw(path) as db:
        found = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
        return {(name, _clauses(sql)) for name, sql in found if name != "alembic_version"}


def _clauses(sql: str) -> frozenset[str]:
    """The text between the commas outside inner brackets."""
    found, depth = [""], 0
    for sign in sql:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 1:
            found.append("")
        else:
            found[-1] += sign
    head, _, first = found[0].partition("(")
    found[:1] = [head, first]
    found[-1], _, tail = found[-1].rpartition(")")
    return frozenset(" ".join(clause.split()) for clause in [*found, tail])
