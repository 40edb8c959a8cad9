"""Copies a whole catalog into an empty database of the other kind: SQLite or PostgreSQL.

The source is locked against writers, and the target is filled in one transaction: so the copy has
all rows, or there is none. It keeps the catalog's id; the stores then belong to both, and only one
of them may be used from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, delete, func, insert, select, text

from imaged.catalogs.connect import is_postgresql, without_password
from imaged.catalogs.dialects import metadata, why_unreadable
from imaged.catalogs.installation_tables import instances
from imaged.catalogs.migrations import (
    apply_steps,
    current_revision,
    missing_steps,
    require_current,
    require_idle,
)
from imaged.catalogs.sqlite.catalog_file import has_tables, path_of
from imaged.catalogs.sqlite.engine import (
    DatabaseBusy,
    create_for_daemon,
    make_engine,
    run_transaction,
)
from imaged.core.errors import CatalogError, CatalogExists

T = TypeVar("T")

BATCH_ROWS = 1000  # in memory at a time
#: Instances that run; none does. The others are the catalog.
NOT_COPIED = frozenset({instances.name})


@dataclass(frozen=True, slots=True)
class MovedCatalog:
    """A copy. ``rows``: how many, by table."""

    revision: str
    rows: Mapping[str, int]


async def copy_to_other_kind(source: str, target: str, password_file: Path | None) -> MovedCatalog:
    """Copy the catalog of one URL to another one.

    ``password_file``: of the target, if that is PostgreSQL. Blocks the event loop while it reads or
    writes SQLite. Raises CatalogError; CatalogExists if the target has a catalog; CatalogInUse if
    instances use the source.
    """
    if is_postgresql(source) == is_postgresql(target):
        raise CatalogError(
            f"{without_password(source)} is of the same kind as {without_password(target)} "
            "(catalog.url): restore a backup there instead (`imaged restore-backup`)."
        )
    if is_postgresql(target):
        if not has_tables(path_of(source)):
            raise CatalogError(f"There is no catalog in {without_password(source)}.")
        fill = partial(_in_sqlite, path_of(source))
        return await _in_postgresql(
            target, password_file, lambda there: fill(lambda here: _copy(here, there))
        )
    return await _in_postgresql(
        source, None, lambda here: _in_sqlite(path_of(target), lambda there: _copy(here, there))
    )


async def _in_postgresql(
    url: str, password_file: Path | None, work: Callable[[Connection], T]
) -> T:
    from imaged.catalogs.postgresql.driver import PostgresqlDatabase

    database = await PostgresqlDatabase.connect(url, password_file)
    try:
        return await database.migrate(work)
    finally:
        await database.close()


def _in_sqlite(path: Path, work: Callable[[Connection], T]) -> T:
    """Run a transaction that has the lock of writers from its beginning."""
    create_for_daemon(path)
    engine = make_engine(path, begin="BEGIN IMMEDIATE", connections=1)
    try:
        while True:
            try:
                return run_transaction(engine, path, work)
            except DatabaseBusy:  # another process is writing
                continue
    finally:
        engine.dispose()


def _copy(source: Connection, target: Connection) -> MovedCatalog:
    for db in (source, target):
        if db.dialect.name == "postgresql":
            db.execute(text("SET LOCAL statement_timeout = 0"))
            db.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    require_current(source)
    if source.dialect.name == "postgresql":  # SQLite's transaction has the lock already
        names = ", ".join(metadata.tables)
        source.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
    require_idle(source)
    if current_revision(target) is not None:
        raise CatalogExists(
            "There is a catalog in catalog.url already: name an empty database there."
        )
    has_contracted = not missing_steps(source, contract=True)
    revision = apply_steps(target, contract=has_contracted).now
    if revision != current_revision(source):
        raise CatalogError(
            f"The catalog is at revision {current_revision(source)}, and a new one at {revision}: "
            "bring it there with `imaged migrate --contract` first."
        )
    rows = {
        table.name: _copy_table(source, target, table)
        for table in metadata.sorted_tables
        if table.name not in NOT_COPIED
    }
    return MovedCatalog(revision, rows)


def _copy_table(source: Connection, target: Connection, table: Table) -> int:
    """Copy the rows of a table; returns how many. Raises CatalogError if they are not all there."""
    target.execute(delete(table))  # a new catalog has an id and a clock of its own
    for rows in _batches(source, table):
        target.execute(insert(table), rows)
    count = select(func.count()).select_from(table)
    read, written = (db.execute(count).scalar_one() for db in (source, target))
    if read != written:
        raise CatalogError(f"Of the {read} rows of {table.name}, {written} were copied.")
    return read


def _batches(source: Connection, table: Table) -> Iterator[Sequence[dict[str, Any]]]:
    """The rows of a table. Raises CatalogError if one is damaged."""
    found = source.execution_options(yield_per=BATCH_ROWS).execute(select(table))
    try:
        for rows in found.mappings().partitions():
            yield [dict(row) for row in rows]
    except Exception as error:
        why = why_unreadable(error)
        if why is None:
            raise
        raise CatalogError(
            f"The source has a damaged row in {table.name}: {why}. Correct or delete it there, or "
            "restore a backup, and begin again: nothing was copied."
        ) from error
