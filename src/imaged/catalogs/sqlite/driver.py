"""SQLite: one file, any number of processes.

Strategy. Each transaction runs as a whole in a worker thread, so the event loop pays for one hop
and not for one per statement. This process has one writer at a time, and its queue is first in,
first out; a writer waits for writers of other processes at BEGIN, as long as its caller waits, and
nowhere else, so no transaction is left half done. Readers have connections of their own and wait
for no lock (WAL). A commit is on the disk when it returns (``synchronous=FULL``).

A caller that is cancelled while its transaction runs returns when it has ended.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

import structlog
from anyio import CancelScope, CapacityLimiter, move_on_after, to_thread
from anyio.lowlevel import checkpoint
from sqlalchemy import Engine, QueuePool, make_url
from sqlalchemy.exc import ArgumentError

from imaged.catalogs import migrations
from imaged.catalogs.database import (
    LIST_TIMEOUT_SECONDS,
    Transaction,
    list_timeout,
    probe,
    write_and_roll_back,
)
from imaged.catalogs.migrations import Migration
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite.engine import (
    BUSY_TIMEOUT_SECONDS,
    LONG_LOG_BYTES,
    DatabaseBusy,
    create_for_daemon,
    make_engine,
    run_transaction,
    shorten_log,
    with_deadline,
    with_small_cache,
    write_ahead_log_bytes,
)
from imaged.core.errors import CatalogError, CatalogUnavailable

T = TypeVar("T")

log = structlog.get_logger()

READ_CONNECTIONS = 4  # connections; more are not faster, they only delay each other less
MAX_READ_PAUSE_SECONDS = 1  # between attempts while no reader prevents it
LIST_CONNECTIONS = 2  # connections for lists, which may be slow
CLOSE_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """The write-ahead log is truncated when it is longer than ``long_log_bytes``; while readers
    prevent that, after writes at least ``shorten_every_seconds`` apart. A list may take
    ``list_seconds``.
    """

    long_log_bytes: int = LONG_LOG_BYTES
    shorten_every_seconds: float = 10
    list_seconds: float = LIST_TIMEOUT_SECONDS


class SqliteDatabase:
    """Runs transactions on one file."""

    connections_limit = READ_CONNECTIONS + LIST_CONNECTIONS + 1

    def __init__(self, path: Path, settings: SqliteSettings | None = None) -> None:
        self._path = path
        self.settings = settings or SqliteSettings()
        make = partial(make_engine, path, long_log_bytes=self.settings.long_log_bytes)
        self.second_tries = 0
        self.writer = make(begin="BEGIN IMMEDIATE", connections=1)
        self.readers = make(begin="BEGIN", connections=READ_CONNECTIONS)
        self.listers = make(begin="BEGIN", connections=LIST_CONNECTIONS)
        self._writing = CapacityLimiter(1)
        self._listing = CapacityLimiter(LIST_CONNECTIONS)
        self._reading = CapacityLimiter(READ_CONNECTIONS)
        self._shorten_from = 0.0
        self._has_failed = False  # to write, and until a test write succeeds
        self._closed = False

    @property
    def busy(self) -> int:
        """The number of running transactions."""
        pools = (self.writer.pool, self.readers.pool, self.listers.pool)
        return sum(pool.checkedout() for pool in pools if isinstance(pool, QueuePool))

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction."""
        return await self._run(self.readers, self._reading, transaction)

    async def read_list(self, transaction: Transaction[T]) -> T:
        """Run a transaction that reads a page of a list."""
        limited = with_deadline(transaction, self.settings.list_seconds)
        with list_timeout(self.settings.list_seconds):
            return await self._run(self.listers, self._listing, limited)

    async def write(self, transaction: Transaction[T]) -> T:
        """Run a transaction that writes."""
        try:
            answer = await self._run(self.writer, self._writing, transaction)
        except CatalogUnavailable:
            self._has_failed = True
            raise
        if monotonic() >= self._shorten_from and self.log_bytes > self.settings.long_log_bytes:
            self._shorten_from = monotonic() + self.settings.shorten_every_seconds
            try:
                await self._shorten_log()
            except CatalogError as error:  # the transaction is committed
                log.warning("catalog.log_not_shortened", error=str(error))
        return answer

    @property
    def log_bytes(self) -> int:
        """The length of the write-ahead log in bytes."""
        return write_ahead_log_bytes(self._path)

    async def shorten_log(self) -> None:
        """Truncate a long log, also when nothing is written any more."""
        if self.log_bytes > self.settings.long_log_bytes and not self._closed:
            await self._shorten_log()

    async def check(self) -> None:
        """Check that the database answers, and accepts writes if the last one failed."""
        await self.read(probe)
        if self._has_failed:
            await self.check_writable()
            self._has_failed = False

    async def check_writable(self) -> None:
        """Write something, and roll it back."""
        await self._run(self.writer, self._writing, with_small_cache(write_and_roll_back))

    async def close(self) -> None:
        """Wait a limited time for running transactions, then close every connection."""
        if self._closed:
            return
        self._closed = True
        with move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True):
            for limiter in (self._writing, self._reading, self._listing):
                for _ in range(int(limiter.total_tokens)):
                    await limiter.acquire_on_behalf_of(object())  # until the end
        with CancelScope(shield=True):
            await to_thread.run_sync(self.writer.dispose)
            await to_thread.run_sync(self.readers.dispose)
            await to_thread.run_sync(self.listers.dispose)

    async def _shorten_log(self) -> None:
        """Keep readers of this process from starting until the log is in the file: SQLite restarts
        it only when it has no reader, and overlapping readers always leave one.

        Lists, which may be slow, are waited for while others read; then it takes a moment, or is
        left to a later call. Readers of other processes are not waited for.
        """
        async with AsyncExitStack() as held:
            with move_on_after(self.settings.list_seconds) as patience:
                await _acquire_all(self._listing, held)
            if patience.cancelled_caught:
                return
            with move_on_after(MAX_READ_PAUSE_SECONDS):
                await _acquire_all(self._reading, held)
                shorten = partial(shorten_log, self.writer, self._path)
                await to_thread.run_sync(shorten, limiter=self._writing)

    async def _run(self, engine: Engine, limiter: CapacityLimiter, work: Transaction[T]) -> T:
        run = partial(run_transaction, engine, self._path, work)
        while not self._closed:
            try:
                return await to_thread.run_sync(run, limiter=limiter)
            except DatabaseBusy:
                self.second_tries += 1
                await checkpoint()
        raise CatalogError(f"The catalog {self._path} is closed.")


async def open_sqlite(where: str | Path) -> SqlCatalog:
    """Open the catalog of a URL or a path; it is created and migrated if necessary.

    Raises CatalogError if the file cannot be opened or is something else; CatalogTooNew.
    """
    path = where if isinstance(where, Path) else path_of(where)
    await migrate_sqlite(path)
    return SqlCatalog(SqliteDatabase(path))


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
    try:
        return run_transaction(engine, path, partial(migrations.apply_steps, contract=contract))
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


async def _acquire_all(limiter: CapacityLimiter, held: AsyncExitStack) -> None:
    for _ in range(int(limiter.total_tokens)):
        token = object()
        await limiter.acquire_on_behalf_of(token)
        held.callback(limiter.release_on_behalf_of, token)


def _require_room(path: Path) -> None:
    """Raise CatalogError if no catalog can be created there."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        why = "its folder is missing, or may not be written to"
        raise CatalogError(f"The catalog {path} cannot be made: {why}.")
