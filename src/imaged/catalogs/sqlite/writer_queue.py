"""The order in which processes write into one file: who has waited longest goes next.

SQLite does not signal that its lock was released: processes that wait for it look again and again,
and one that has just written may win every time. So a writer takes its turn before it begins: it
locks two bytes of a file beside the database, first the place of the next one in line, then the
turn itself, and then gives up that place. These locks belong to open files (fcntl(2), F_OFD_SETLK),
so that the kernel releases them if the process dies.

A renewal of leases does not stand in line, because work is lost if it comes late: it locks a third
byte, and a writer that has the turn and finds that byte locked gives the turn up for that long.

Only the order depends on it. SQLite's own lock keeps writers apart: also those that do not queue,
because they are of another version, and those that have left a line that does not move.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from threading import Condition, Thread
from typing import TypeVar

from imaged.catalogs.sqlite.engine import BUSY_TIMEOUT_SECONDS, DatabaseBusy, give_to

T = TypeVar("T")

SUFFIX = "-writers"
NEXT_IN_LINE, TURN, GOES_FIRST = 0, 1, 2  # bytes
PATIENCE_SECONDS = 2.0  # in line; a suspended process may be before this one
UNUSED_TURN_SECONDS = 0.1  # then the turn goes to others: its caller has given up
IDLE_THREAD_SECONDS = 1.0
GO_FIRST_PAUSE_SECONDS = 0.002  # between two looks of one that goes first

_LOCK = struct.Struct("hhqqi0q")  # struct flock


class _Place(Enum):
    """Where this process is."""

    OUTSIDE = auto()
    IN_LINE = auto()
    FIRST = auto()  # it has the turn, and the writer has not come yet


class WriterQueue:
    """The place of this process in the queue. It writes one transaction at a time."""

    def __init__(self, database: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._database = database
        self._patience_seconds = patience_seconds
        self._file: int | None = None
        self._first_file: int | None = None  # opened twice, so that its locks keep each other out
        self._changed = Condition()
        self._place = _Place.OUTSIDE
        self._since = 0.0  # when it got in line
        self._has_thread = False
        self._is_closed = False

    def run(self, transaction: Callable[[], T], *, goes_first: bool = False) -> T:
        """Write in turn. Raises DatabaseBusy if the turn did not come for BUSY_TIMEOUT_SECONDS; the
        place in line stays.

        ``goes_first``: before all that stand in line, and without a turn if none comes in time.
        """
        turn = self._go_first() if goes_first else self._wait_for_turn()
        try:
            return transaction()
        finally:
            if turn is not None:
                self._lock(fcntl.F_UNLCK, TURN, file=turn)

    def close(self) -> None:
        """Close the file, unless a thread waits: then its lock ends with the process."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            if self._file is not None and self._place is _Place.OUTSIDE:
                os.close(self._file)
                self._file = None
            if self._first_file is not None:
                os.close(self._first_file)
                self._first_file = None

    def _go_first(self) -> int | None:
        """The file that has locked the turn; None: it did not come, and is not waited for."""
        with self._changed:
            if not self._is_open() or self._first_file is None:
                return None
        until = time.monotonic() + BUSY_TIMEOUT_SECONDS
        try:
            while time.monotonic() < until:
                self._lock(fcntl.F_RDLCK, GOES_FIRST, waits=False, file=self._first_file)
                if self._lock(fcntl.F_WRLCK, TURN, waits=False, file=self._first_file):
                    return self._first_file
                with self._changed:
                    if self._place is _Place.FIRST:
                        return self._leave_line()
                time.sleep(GO_FIRST_PAUSE_SECONDS)  # in a worker thread; the locks have no limit
            return None
        finally:
            self._lock(fcntl.F_UNLCK, GOES_FIRST, file=self._first_file)

    def _leave_line(self) -> int | None:
        self._place = _Place.OUTSIDE
        self._changed.notify_all()
        return self._file

    def _wait_for_turn(self) -> int | None:
        """The file that has locked the turn; None: it writes without. Raises DatabaseBusy."""
        with self._changed:
            if not self._is_open():
                return None
            if self._place is _Place.OUTSIDE:
                if self._try():
                    return self._file
                self._get_in_line()
            if self._place is _Place.IN_LINE:
                self._changed.wait(BUSY_TIMEOUT_SECONDS)
            if self._place is _Place.FIRST:
                return self._leave_line()
            if self._place is _Place.IN_LINE:
                if time.monotonic() - self._since < self._patience_seconds:
                    raise DatabaseBusy
                return None
            raise DatabaseBusy  # the turn came and went meanwhile

    def _is_open(self) -> bool:
        """Open the file, if possible."""
        if self._file is None and not self._is_closed:
            path = self._database.with_name(self._database.name + SUFFIX)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            with suppress(OSError):  # of a folder or file of another user
                owner = self._database.stat()
                self._file = os.open(path, flags, owner.st_mode & 0o666)
                give_to(path, owner)
                self._first_file = os.open(path, flags)
        return self._file is not None

    def _try(self) -> bool:
        """Take the turn, if it and the place before it are free."""
        if self._one_goes_first() or not self._lock(fcntl.F_WRLCK, NEXT_IN_LINE, waits=False):
            return False
        has_turn = self._lock(fcntl.F_WRLCK, TURN, waits=False)
        self._lock(fcntl.F_UNLCK, NEXT_IN_LINE)
        return has_turn

    def _get_in_line(self) -> None:
        self._place, self._since = _Place.IN_LINE, time.monotonic()
        if self._has_thread:
            self._changed.notify_all()
        else:
            self._has_thread = True
            Thread(target=self._stand_in_line, name="imaged-writers", daemon=True).start()

    def _stand_in_line(self) -> None:
        """Wait for turns; in a thread, because the locks have no time limit."""
        while self._is_wanted():
            self._lock(fcntl.F_WRLCK, NEXT_IN_LINE)
            self._lock(fcntl.F_WRLCK, TURN)
            while self._one_goes_first():
                self._lock(fcntl.F_UNLCK, TURN)
                self._lock(fcntl.F_WRLCK, GOES_FIRST)  # when it has the turn
                self._lock(fcntl.F_UNLCK, GOES_FIRST)
                self._lock(fcntl.F_WRLCK, TURN)
            self._lock(fcntl.F_UNLCK, NEXT_IN_LINE)
            with self._changed:
                self._place = _Place.FIRST
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._place is not _Place.FIRST, UNUSED_TURN_SECONDS)
                if self._place is _Place.FIRST:
                    self._place = _Place.OUTSIDE
                    self._lock(fcntl.F_UNLCK, TURN)

    def _is_wanted(self) -> bool:
        """Wait until the process is in line; False after a while without, which ends the thread."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._place is _Place.IN_LINE or self._is_closed, IDLE_THREAD_SECONDS
            )
            self._has_thread = self._place is _Place.IN_LINE and self._file is not None
            return self._has_thread

    def _one_goes_first(self) -> bool:
        """Whether another file has locked that byte."""
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, GOES_FIRST, 1, 0)
        try:
            answer = fcntl.fcntl(_number(self._file), fcntl.F_OFD_GETLK, asked)
        except OSError:
            return False
        return bool(_LOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def _lock(self, kind: int, byte: int, *, waits: bool = True, file: int | None = None) -> bool:
        """Lock or unlock a byte; False if it is locked and not waited for, or cannot be locked."""
        command = fcntl.F_OFD_SETLKW if waits else fcntl.F_OFD_SETLK
        number = _number(self._file if file is None else file)
        try:
            fcntl.fcntl(number, command, _LOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
        except OSError:
            return False
        return True


def _number(file: int | None) -> int:
    return -1 if file is None else file
