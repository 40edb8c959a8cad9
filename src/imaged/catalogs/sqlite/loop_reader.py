"""Short reads of SQLite on the event loop, where a thread would cost more than the read.

A hand-over to a thread and back takes longer than reading one image, and under load the loop and
the threads take the interpreter's lock from one another at every call. So a short read is made
where it is asked for, if it cannot wait: not for a lock, which it is refused at once; not for a
disk, because the whole file was in memory a moment ago; and not for a long scan, which is
interrupted. In each of these cases the caller goes to a thread, and so do all others for a while if
a read took long all the same.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from imaged.catalogs.database import Transaction
from imaged.catalogs.sqlite.engine import DatabaseBusy
from imaged.core.errors import CatalogError

T = TypeVar("T")

LONGEST_SCAN_SECONDS = 0.005  # then its statement is interrupted
CHECK_STEPS = 1_000  # of SQLite's virtual machine, between two looks at the clock
SLOW_SECONDS = 0.05  # a read that took longer has waited for something
PAUSE_SECONDS = 5.0  # after a read that was slow or interrupted


class MustWait(Exception):
    """The read would wait, takes too long, or failed: make it in a thread, which tells why."""


class LoopReader:
    """Makes short reads in the thread of the event loop, on a connection of its own.

    ``engine``: it must not wait for locks, and not begin transactions by itself.
    """

    def __init__(self, engine: Engine, longest_scan_seconds: float = LONGEST_SCAN_SECONDS) -> None:
        self._engine = engine
        self.longest_scan_seconds = longest_scan_seconds
        self.slow_seconds = SLOW_SECONDS
        self.connection: Connection | None = None
        self._not_before = 0.0
        self._deadline = 0.0

    def connect(self) -> None:
        """Open the file, if that was not done or failed. Waits for the disk."""
        if self.connection is not None:
            return
        try:
            connection = self._engine.connect()
        except (DatabaseBusy, CatalogError, sqlite3.Error, DBAPIError):
            return  # whatever reads in a thread tells why
        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(self._is_too_long, CHECK_STEPS)
        self.connection = connection

    def read(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction. Raises MustWait, and what the transaction raises."""
        began = time.monotonic()
        if self.connection is None or began < self._not_before:
            raise MustWait
        self._deadline = began + self.longest_scan_seconds
        try:
            answer = _run(self.connection, transaction)
        except (sqlite3.Error, DBAPIError) as error:
            self._not_before = began + PAUSE_SECONDS
            raise MustWait from error
        except (SQLAlchemyError, OverflowError, UnicodeError) as error:  # a value, not the file
            raise MustWait from error
        if time.monotonic() - began > self.slow_seconds:
            self._not_before = began + PAUSE_SECONDS
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
        self._engine.dispose()

    def _is_too_long(self) -> bool:
        return time.monotonic() > self._deadline


def _run(db: Connection, transaction: Transaction[T]) -> T:
    raw: Any = db.connection.dbapi_connection
    raw.execute("BEGIN")
    try:
        return transaction(db)
    finally:
        if db.in_transaction():  # SQLAlchemy executed a statement
            db.rollback()
        raw.rollback()
