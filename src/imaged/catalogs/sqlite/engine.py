"""Sets up SQLite: its connections, the start of its transactions, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

from imaged.catalogs.database import Transaction
from imaged.core.errors import CatalogError, CatalogFull, CatalogUnavailable
from imaged.core.limits import MIB

T = TypeVar("T")

ROOT_UID = 0
BUSY_TIMEOUT_SECONDS = 0.1  # then check whether the caller still waits
BUSY_PAUSE_SECONDS = 0.005  # for errors that bypass SQLite's own busy timeout
PAGES, FEW_PAGES = -2000, 10  # pages in memory before some are written: SQLite's default, and fewer
LIST_PAGES = -16_000  # the same, in KiB, where lists look through thousands of images
LONG_LOG_BYTES = 64 * MIB  # the write-ahead log; SQLite's own checkpoints keep it at 4
BUDGET_CHECK_STEPS = 10_000  # of SQLite's virtual machine: about a thousand per second
MOST_WAITED = 10  # times its budget that a list may take by the clock: for a disk, or a processor

SQLITE_MESSAGES = {
    sqlite3.SQLITE_FULL: "has no room: its disk is full",
    sqlite3.SQLITE_READONLY: "cannot be written: the file or its folder is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: its folder is missing, or may not be written to",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
    sqlite3.SQLITE_AUTH: "cannot be opened: permission denied",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup",
    sqlite3.SQLITE_IOERR: "cannot be read or written: its disk reports an error",
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_CONSTRAINT: "refused a change that violates one of its constraints",
}

#: Errors that may pass: space is freed, a disk returns, a lock is released.
TEMPORARY_CODES = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN}
)


class DatabaseBusy(Exception):
    """Another process has the lock. Strictly private: callers retry."""


def make_engine(
    path: Path,
    *,
    begin: str,
    connections: int,
    long_log_bytes: int = LONG_LOG_BYTES,
    busy_seconds: float = BUSY_TIMEOUT_SECONDS,
    pages: int = PAGES,
) -> Engine:
    """An engine that begins its transactions so, and raises DatabaseBusy if it cannot.

    ``begin``: empty if its user begins and ends them.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_reset_on_return=None,  # every transaction was ended
        hide_parameters=True,  # errors and logs must not contain what clients wrote
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        connect_args={"check_same_thread": False, "timeout": busy_seconds},
    )
    set_up = partial(_set_up, long_log_bytes=long_log_bytes, pages=pages)
    event.listen(engine, "connect", set_up)
    if begin:
        event.listen(engine, "begin", partial(_begin, statement=begin))
    return engine


def create_for_daemon(path: Path) -> None:
    """If this is root, create an empty file for the owner of its folder, unless there is one: a
    daemon could not write root's. Raises CatalogError.
    """
    if os.geteuid() != ROOT_UID:
        return
    try:
        path.touch(exist_ok=False)
        give_to(path, path.parent.stat())
    except FileExistsError:
        return
    except OSError as error:
        raise CatalogError(f"The catalog {path} cannot be made: {error.strerror}.") from error


def give_to(path: Path, owner: os.stat_result) -> None:
    """If this is root, give a file, not what a link names, to the owner of another one.

    Raises OSError.
    """
    if os.geteuid() == ROOT_UID:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def run_transaction(engine: Engine, path: Path, work: Transaction[T]) -> T:
    """Run a transaction in this thread. Raises DatabaseBusy only if nothing was begun."""
    with begun(engine, path) as db:
        return work(db)


@contextmanager
def begun(engine: Engine, path: Path) -> Iterator[Connection]:
    """A transaction, which is committed at the end of the block, unless it raises.

    Raises DatabaseBusy only if nothing was begun; CatalogError.
    """
    with translated_errors(path), engine.connect() as db:
        raw: Any = db.connection.dbapi_connection
        try:
            with db.begin():
                yield db
        finally:
            if raw.in_transaction:  # SQLite keeps one open whose commit it refused
                raw.rollback()


def write_ahead_log_bytes(path: Path) -> int:
    """The length of this file's write-ahead log in bytes; 0 if there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def shorten_log(engine: Engine, path: Path) -> None:
    """Copy the whole write-ahead log into the file and truncate it, unless it has readers."""
    with translated_errors(path), closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def with_budget(
    work: Transaction[T],
    seconds: float,
    processor_time: Callable[[], float] = time.thread_time,
    clock: Callable[[], float] = time.monotonic,
) -> Transaction[T]:
    """The transaction with a budget of its thread's processor time: TimeoutError interrupts its
    statements when that is spent, or ``MOST_WAITED`` times as much by the clock.

    By the clock alone, a busy machine would refuse what costs little. The time starts when the
    transaction begins.
    """

    def run(db: Connection) -> T:
        end, latest = processor_time() + seconds, clock() + MOST_WAITED * seconds
        raw: Any = db.connection.dbapi_connection
        raw.set_progress_handler(
            lambda: processor_time() > end or clock() > latest, BUDGET_CHECK_STEPS
        )
        try:
            return work(db)
        except (DBAPIError, sqlite3.Error) as error:
            found = error.orig if isinstance(error, DBAPIError) else error
            if _code(found) != sqlite3.SQLITE_INTERRUPT:
                raise
            raise TimeoutError from error
        finally:
            raw.set_progress_handler(None, BUDGET_CHECK_STEPS)

    return run


def with_small_cache(work: Transaction[T]) -> Transaction[T]:
    """The transaction with a small cache, so it writes to the disk even what it rolls back."""

    def run(db: Connection) -> T:
        raw: Any = db.connection.dbapi_connection
        raw.execute(f"PRAGMA cache_size = {FEW_PAGES}")
        try:
            return work(db)
        finally:
            raw.execute(f"PRAGMA cache_size = {PAGES}")

    return run


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate every error of the block. Raises CatalogError."""
    try:
        yield
    except DBAPIError as error:
        raise _error_of(path, error.orig) from error
    except sqlite3.Error as error:
        raise _error_of(path, error) from error
    except (SQLAlchemyError, OverflowError, UnicodeError) as error:
        why = error.orig if isinstance(error, StatementError) else error  # without the statement
        if isinstance(why, UnicodeError):
            said = "cannot store such a value: a text in it has half a surrogate pair"
        else:
            said = f"cannot store such a value: {why}"
        raise CatalogError(f"The catalog {path} {said}.") from error


def _set_up(
    connection: sqlite3.Connection, record: object, *, long_log_bytes: int, pages: int
) -> None:
    del record
    connection.isolation_level = None  # imaged begins transactions explicitly
    try:
        with _busy():
            _require_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {long_log_bytes}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = {pages}")
    except BaseException:
        connection.close()
        raise


def _require_wal(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise CatalogError(
            "The catalog's filesystem does not allow SQLite's write-ahead log; "
            "put the file on a local disk."
        )


def _begin(connection: Connection, statement: str) -> None:
    raw: Any = connection.connection.dbapi_connection
    with _busy():
        raw.execute(statement)


@contextmanager
def _busy() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_BUSY:
            raise
        time.sleep(BUSY_PAUSE_SECONDS)  # in a worker thread; SQLite does not signal a released lock
        raise DatabaseBusy from error


def _code(error: BaseException | None) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _error_of(path: Path, error: BaseException | None) -> CatalogError:
    kind = CatalogUnavailable if _code(error) in TEMPORARY_CODES else CatalogError
    if _code(error) == sqlite3.SQLITE_FULL:
        kind = CatalogFull
    return kind(f"The catalog {path} {SQLITE_MESSAGES.get(_code(error), f'failed: {error}')}.")
