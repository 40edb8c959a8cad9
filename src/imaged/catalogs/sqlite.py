"""SQLite: one file, any number of processes.

Strategy. Each transaction runs in a worker thread, in one go, so that the event loop pays for one
hop and not for one per statement. There is one writer at a time in this process, and it waits in
an orderly queue; writers of other processes it waits for at BEGIN, for as long as its caller does,
and nowhere else, so that nothing is ever half done. Readers have connections of their own and wait
for nobody (WAL). A commit is on the disk when it returns (``synchronous=FULL``).

A caller that is cancelled while its transaction runs leaves when it is over.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from anyio import CancelScope, CapacityLimiter, move_on_after, to_thread
from anyio.lowlevel import checkpoint
from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from imaged.catalogs import migrations
from imaged.catalogs.sql import SqlCatalog, Transaction
from imaged.core.errors import CatalogError

T = TypeVar("T")

READERS = 4  # connections; more do not read faster, they only hold up one another less
BUSY_TIMEOUT_SECONDS = 0.1  # after so long in vain, look whether the caller still waits
CLOSING_SECONDS = 30
BUSY_PAUSE_SECONDS = 0.005  # not every statement waits at all

WHY = {
    sqlite3.SQLITE_FULL: "has no room: its disk is full",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its folder is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: its folder is missing, or may not be written to",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
    sqlite3.SQLITE_AUTH: "cannot be opened: permission denied",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup",
    sqlite3.SQLITE_IOERR: "cannot be read or written: its disk reports an error",
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_CONSTRAINT: "refused what would break one of its rules",
}


class Busy(Exception):
    """Another process has the lock. Strictly private: whoever meets it tries again."""


class SqliteDatabase:
    """Runs transactions on one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.writer = make_engine(path, begin="BEGIN IMMEDIATE", connections=1)
        self.readers = make_engine(path, begin="BEGIN", connections=READERS)
        self._writing = CapacityLimiter(1)
        self._reading = CapacityLimiter(READERS)

    @property
    def busy(self) -> int:
        """How many transactions are running."""
        pools = (self.writer.pool, self.readers.pool)
        return sum(pool.checkedout() for pool in pools if isinstance(pool, QueuePool))

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a transaction that only reads."""
        return await self._run(self.readers, self._reading, transaction)

    async def write(self, transaction: Transaction[T]) -> T:
        """Run a transaction that writes."""
        return await self._run(self.writer, self._writing, transaction)

    async def close(self) -> None:
        """Wait for what runs, but not for ever, and close every connection."""
        with move_on_after(CLOSING_SECONDS, shield=True):
            for limiter in (self._writing, self._reading):
                for _ in range(int(limiter.total_tokens)):
                    await limiter.acquire_on_behalf_of(object())  # for good: nothing begins
        with CancelScope(shield=True):
            await to_thread.run_sync(self.writer.dispose)
            await to_thread.run_sync(self.readers.dispose)

    async def _run(self, engine: Engine, limiter: CapacityLimiter, work: Transaction[T]) -> T:
        run = partial(run_once, engine, self._path, work)
        while True:
            try:
                return await to_thread.run_sync(run, limiter=limiter)
            except Busy:
                await checkpoint()


async def open_sqlite(where: str | Path) -> SqlCatalog:
    """Open the catalog of a URL or a path; it is made, and migrated, where that is needed.

    Raises CatalogError: the file cannot be opened, or is something else; CatalogTooNew.
    """
    path = where if isinstance(where, Path) else path_of(where)
    while True:
        try:
            await to_thread.run_sync(prepare_once, path)
        except Busy:
            await checkpoint()
        else:
            return SqlCatalog(SqliteDatabase(path))


def prepare_once(path: Path) -> str | None:
    """Make and migrate the file where that is needed; the revision that it had before.

    Raises Busy if another process does the same, or writes: then try again.
    """
    if not path.parent.is_dir():
        raise CatalogError(f"The catalog {path} cannot be opened: its folder is missing.")
    engine = make_engine(path, begin="BEGIN IMMEDIATE", connections=1)
    try:
        with translated(path), engine.begin() as db:
            found = migrations.current_revision(db)
            migrations.take_steps(db)
        return found
    finally:
        engine.dispose()


def path_of(url: str) -> Path:
    """The file that a URL like ``sqlite:////var/lib/…`` names. Raises CatalogError."""
    try:
        parts = make_url(url)
    except ArgumentError as error:
        raise CatalogError(f"The catalog's URL {url!r} cannot be understood.") from error
    if parts.get_backend_name() != "sqlite" or parts.database in {None, "", ":memory:"}:
        raise CatalogError(f"The catalog's URL {url!r} names no SQLite file.")
    return Path(str(parts.database))


def make_engine(path: Path, *, begin: str, connections: int) -> Engine:
    """An engine that begins its transactions so, and raises Busy where it cannot."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_reset_on_return=None,  # every transaction was ended
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS},
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", partial(_begin, statement=begin))
    return engine


def run_once(engine: Engine, path: Path, work: Transaction[T]) -> T:
    """Run a transaction in this thread. Raises Busy only if nothing was begun."""
    with translated(path), engine.begin() as db:
        return work(db)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Let no error out but our own."""
    try:
        yield
    except DBAPIError as error:
        raise CatalogError(f"The catalog {path} {_why(error.orig)}.") from error
    except sqlite3.Error as error:
        raise CatalogError(f"The catalog {path} {_why(error)}.") from error
    except (SQLAlchemyError, OverflowError, UnicodeError) as error:
        raise CatalogError(f"The catalog {path} cannot do that: {error}.") from error


def _set_up(connection: sqlite3.Connection, record: object) -> None:
    del record
    connection.isolation_level = None  # we say ourselves when a transaction begins
    try:
        with _busy():
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise CatalogError(
                "The catalog's filesystem does not allow SQLite's write-ahead log; "
                "put the file on a local disk."
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise


def _begin(connection: Connection, statement: str) -> None:
    raw: Any = connection.connection.dbapi_connection
    with _busy():
        raw.execute(statement)
        try:
            raw.execute("SELECT 1 FROM sqlite_schema LIMIT 1").close()  # a reader's state is fixed
        except sqlite3.Error:
            raw.execute("ROLLBACK")
            raise


@contextmanager
def _busy() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_BUSY:
            raise
        time.sleep(BUSY_PAUSE_SECONDS)  # in a worker thread
        raise Busy from error


def _code(error: BaseException | None) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _why(error: BaseException | None) -> str:
    return WHY.get(_code(error), f"failed: {error}")
