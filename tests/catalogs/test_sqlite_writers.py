"""Writers of several processes take turns: the kernel's locks are the same between two queues."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import Connection

from imaged.catalogs.sqlite.catalog_file import open_sqlite
from imaged.catalogs.sqlite.engine import DatabaseBusy
from imaged.catalogs.sqlite.writer_queue import (
    GOES_FIRST,
    NEXT_IN_LINE,
    SUFFIX,
    TURN,
    WriterQueue,
)
from imaged.core.claim import Claim, InstanceId
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


def write(queue: WriterQueue, transaction: Callable[[], None], *, goes_first: bool = False) -> None:
    """Write as the driver does, which repeats what did not get its turn."""
    while True:
        try:
            return queue.run(transaction, goes_first=goes_first)
        except DatabaseBusy:
            continue


def write_first(queue: WriterQueue, transaction: Callable[[], None]) -> None:
    """Write as the driver does for a renewal."""
    write(queue, transaction, goes_first=True)


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


def test_a_renewal_does_not_stand_in_line(database: Path, threads: ThreadPoolExecutor) -> None:
    """It goes before processes that have waited longer, and costs them their turn only so long."""
    busy, patient, renewing = (WriterQueue(database) for _ in range(3))
    order, waiting = list[str](), list[Future[None]]()

    def first() -> None:
        waiting.append(threads.submit(write, patient, lambda: order.append("patient")))
        wait_until(lambda: is_locked(database, NEXT_IN_LINE))
        waiting.append(threads.submit(write_first, renewing, lambda: order.append("renewal")))
        wait_until(lambda: is_locked(database, GOES_FIRST))
        order.append("busy")

    write(busy, first)
    for future in waiting:
        future.result(10)

    assert order == ["busy", "renewal", "patient"]
    wait_until(lambda: not any(is_locked(database, byte) for byte in (TURN, GOES_FIRST)))


def test_a_renewal_goes_before_who_has_just_written(
    database: Path, threads: ThreadPoolExecutor
) -> None:
    """Also where no other process stands in line."""
    busy, renewing, order = WriterQueue(database), WriterQueue(database), list[str]()
    waiting: list[Future[None]] = []

    def first() -> None:
        waiting.append(threads.submit(write_first, renewing, lambda: order.append("renewal")))
        wait_until(lambda: is_locked(database, GOES_FIRST))
        order.append("busy")

    write(busy, first)
    write(busy, lambda: order.append("busy again"))
    waiting[0].result(10)

    assert order == ["busy", "renewal", "busy again"]


def test_a_renewal_takes_the_turn_of_its_own_process(
    database: Path, threads: ThreadPoolExecutor
) -> None:
    """Which its other writer waited for; that one stands in line again."""
    busy, renewing, order = WriterQueue(database), WriterQueue(database), list[str]()

    def first() -> None:
        with pytest.raises(DatabaseBusy):
            threads.submit(renewing.run, lambda: None).result(10)

    write(busy, first)
    write_first(renewing, lambda: order.append("renewal"))
    write(renewing, lambda: order.append("other"))
    write(busy, lambda: order.append("busy"))

    assert order == ["renewal", "other", "busy"]


def test_a_renewal_does_not_wait_for_a_suspended_process(database: Path) -> None:
    """SQLite's lock decides, after a tenth of a second."""
    queue, done = WriterQueue(database), list[str]()
    write(queue, lambda: done.append("before"))
    with os.fdopen(os.open(database.with_name(database.name + SUFFIX), os.O_RDWR)) as suspended:
        fcntl.fcntl(suspended, fcntl.F_OFD_SETLK, LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, TURN, 1, 0))

        queue.run(lambda: done.append("renewed"), goes_first=True)

    assert done == ["before", "renewed"]
    assert not is_locked(database, GOES_FIRST)


@pytest.mark.asyncio
async def test_a_renewal_goes_before_writers_that_wait(tmp_path: Path) -> None:
    """In one process: it waits for the one that is being written, and for the next."""
    catalog = await open_sqlite(tmp_path / "catalog.db")
    order, may_end, has_begun = list[str](), Event(), anyio.Event()
    on_loop = asyncio.get_running_loop().call_soon_threadsafe

    def first(db: Connection) -> None:
        del db
        on_loop(has_begun.set)
        may_end.wait(10)

    async def write_one() -> None:
        await catalog.database.write(lambda _: None)
        order.append("written")

    async def renew() -> None:
        await catalog.renew_leases([Claim(uuid4(), InstanceId("here"), timedelta(minutes=1))])
        order.append("renewed")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(catalog.database.write, first)
        await has_begun.wait()
        for _ in range(20):
            tasks.start_soon(write_one)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(renew)
        await anyio.wait_all_tasks_blocked()
        may_end.set()
    await catalog.close()

    assert order.index("renewed") <= 2
