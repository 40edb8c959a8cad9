"""Writers of several processes take turns: the kernel's locks are the same between two queues."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from imaged.catalogs.sqlite.engine import DatabaseBusy
from imaged.catalogs.sqlite.writer_queue import NEXT_IN_LINE, SUFFIX, TURN, WriterQueue
from support.waiting import wait_until

LOCK = struct.Struct("hhqqi0q")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file."""
    path = tmp_path / "catalog.db"
    sqlite3.connect(path).close()
    path.touch()
    return path


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads of other writers."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def is_locked(database: Path, byte: int) -> bool:
    """Whether another open file has locked this byte."""
    file = os.open(database.with_name(database.name + SUFFIX), os.O_RDWR)
    try:
        asked = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        answer = LOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))
    finally:
        os.close(file)
    return int(answer[0]) != fcntl.F_UNLCK


def write(queue: WriterQueue, transaction: Callable[[], None]) -> None:
    """Write as the driver does, which repeats what did not get its turn."""
    while True:
        try:
            return queue.run(transaction)
        except DatabaseBusy:
            continue


def test_who_waits_goes_before_who_has_just_written(
    database: Path, threads: ThreadPoolExecutor
) -> None:
    """A busy process cannot keep others from writing, however soon it wants to write again."""
    busy, patient, order = WriterQueue(database), WriterQueue(database), list[str]()
    waiting: list[Future[None]] = []

    def first() -> None:
        waiting.append(threads.submit(write, patient, lambda: order.append("patient")))
        wait_until(lambda: is_locked(database, NEXT_IN_LINE))
        order.append("busy")

    write(busy, first)
    write(busy, lambda: order.append("busy again"))
    waiting[0].result(10)

    assert order == ["busy", "patient", "busy again"]
    assert not is_locked(database, TURN)


def test_a_line_that_does_not_move_is_left(database: Path) -> None:
    """A suspended process before this one costs a pause, and no more: SQLite's lock decides."""
    queue, done = WriterQueue(database, patience_seconds=0.2), list[str]()
    write(queue, lambda: done.append("before"))
    suspended = os.open(database.with_name(database.name + SUFFIX), os.O_RDWR)
    asked = LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, TURN, 1, 0)
    fcntl.fcntl(suspended, fcntl.F_OFD_SETLK, asked)

    with pytest.raises(DatabaseBusy):
        queue.run(lambda: done.append("too early"))
    write(queue, lambda: done.append("without a turn"))
    os.close(suspended)
    wait_until(lambda: not is_locked(database, TURN) and not is_locked(database, NEXT_IN_LINE))
    write(queue, lambda: done.append("in turn"))

    assert done == ["before", "without a turn", "in turn"]


def test_a_turn_that_is_not_used_goes_to_others(
    database: Path, threads: ThreadPoolExecutor
) -> None:
    """The caller of a waiting writer may give up; the others do not wait for it."""
    busy, given_up, done = WriterQueue(database), WriterQueue(database), Event()

    def give_up() -> None:
        with pytest.raises(DatabaseBusy):
            threads.submit(given_up.run, lambda: None).result(10)

    write(busy, give_up)
    write(busy, done.set)

    assert done.is_set()
    wait_until(lambda: not is_locked(database, TURN))


def test_a_failed_transaction_ends_its_turn(database: Path) -> None:
    """Its error passes through."""
    queue = WriterQueue(database)

    def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        queue.run(fail)
    assert not is_locked(database, TURN)


def test_without_a_file_writers_do_not_queue(tmp_path: Path) -> None:
    """The folder of a database that only others may write to."""
    done = Event()
    WriterQueue(tmp_path / "missing" / "catalog.db").run(done.set)
    assert done.is_set()
