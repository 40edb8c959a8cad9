"""Short reads of SQLite on the event loop, where a thread would cost more than the read.

A hand-over to a thread and back takes longer than reading one image, and under load the loop and
the threads take the interpreter's lock from one another at every call. So a short read is made
where it is asked for, if it cannot wait: not for a lock, which it is refused at once; not for a
disk, because the whole file was in memory a moment ago; and not for a long scan, which is
interrupted. In each of these cases the caller goes to a thread, and so do all others for a while if
a read waited for a disk all the same. A busy machine is no such case: what counts of a scan is the
thread's processor time, and of a wait that blocks were read.
"""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from imaged.catalogs.database import Transaction
from imaged.catalogs.sqlite.engine import DatabaseBusy
from imaged.core.errors import CatalogError

T = TypeVar("T")

LONGEST_SCAN_SECONDS = 0.005  # of processor time; then its statement is interrupted
CHECK_STEPS = 1_000  # of SQLite's virtual machine, between two looks at the clock
SLOW_SECONDS = 0.05  # a read that took longer may have waited for a disk
PAUSE_SECONDS = 5.0  # after a read that waited for a disk, or was interrupted


class MustWait(Exception):
    """The read would wait, takes too long, or failed: make it in a thread, which tells why."""


def disk_reads() -> int:
    """How often this thread has waited for blocks or pages from a disk (getrusage(2))."""
    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_inblock + usage.ru_majflt


class LoopReader:
    """Makes short reads in the thread of the event loop, on a connection of its own.

    ``engine``: it must not wait for locks, and not begin transactions by itself.
    ``count_disk_reads``: of the calling thread, since it began.
    """

    def __init__(
        self,
        engine: Engine,
        longest_scan_seconds: float = LONGEST_SCAN_SECONDS,
        count_disk_reads: Callable[[], int] = disk_reads,
    ) -> None:
        self._engine = engine
        self._count_disk_reads = count_disk_reads
        self.longest_scan_seconds = longest_scan_seconds
        self.slow_seconds = SLOW_SECONDS
        self.connection: Connection | None = None
        self._not_before = 0.0
        self._long_from = 0.0  # from then on, processor time is counted
        self._scan_deadline: float | None = None
        self._disk_reads: int | None = None  # None: nothing has been read

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
        if self._disk_reads is None:
            self._disk_reads = self._count_disk_reads()
        self._long_from, self._scan_deadline = began + self.longest_scan_seconds, None
        try:
            answer = _run(self.connection, transaction)
        except (sqlite3.Error, DBAPIError) as error:
            self._not_before = began + PAUSE_SECONDS
            raise MustWait from error
        except (SQLAlchemyError, OverflowError, UnicodeError) as error:  # a value, not the file
            raise MustWait from error
        if time.monotonic() - began > self.slow_seconds and self._has_waited_for_disk():
            self._not_before = began + PAUSE_SECONDS
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
        self._engine.dispose()

    def _is_too_long(self) -> bool:
        if time.monotonic() <= self._long_from:
            return False
        now = time.thread_time()
        if self._scan_deadline is None:
            self._scan_deadline = now + self.longest_scan_seconds
        return now > self._scan_deadline

    def _has_waited_for_disk(self) -> bool:
        """Whether this thread has, since this was asked last."""
        before, self._disk_reads = self._disk_reads, self._count_disk_reads()
        return self._disk_reads != before


def _run(db: Connection, transaction: Transaction[T]) -> T:
    raw: Any = db.connection.dbapi_connection
    raw.execute("BEGIN")
    try:
        return transaction(db)
    finally:
        if db.in_transaction():  # SQLAlchemy executed a statement
            db.rollback()
        raw.rollback()
