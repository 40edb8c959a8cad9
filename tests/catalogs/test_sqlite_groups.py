"""Transactions that wait together are committed together, and none disturbs the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import anyio
import pytest
import pytest_asyncio
from anyio import to_thread
from sqlalchemy import Connection, event, text

from imaged.catalogs.sqlite import group_writer
from imaged.catalogs.sqlite.engine import make_engine
from imaged.catalogs.sqlite.group_writer import GroupWriter
from imaged.catalogs.sqlite.writer_queue import WriterQueue
from imaged.core.errors import CatalogError

pytestmark = pytest.mark.asyncio

Work = Callable[[Connection], object]


class Rows:
    """A table with one column, a writer of it, and the number of commits so far."""

    def __init__(self, path: Path) -> None:
        self.engine = make_engine(path, begin="BEGIN IMMEDIATE", connections=1)
        self.queue = WriterQueue(path)
        self.writer = GroupWriter(self.engine, path, self.queue)
        self.commits = 0
        event.listen(self.engine, "commit", self._count)

    def _count(self, _: object) -> None:
        self.commits += 1

    async def create(self) -> None:
        """Create the table; a row may refer to another one, as of the commit."""
        await self.writer.write(
            lambda db: db.execute(
                text(
                    "CREATE TABLE numbers (number INTEGER PRIMARY KEY, beside INTEGER "
                    "REFERENCES numbers (number) DEFERRABLE INITIALLY DEFERRED)"
                )
            )
        )
        self.commits = 0

    async def numbers(self) -> list[int]:
        """What is committed."""
        found: list[int] = await self.writer.write(
            lambda db: list(db.execute(text("SELECT number FROM numbers ORDER BY 1")).scalars())
        )
        return found

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Keep the writer busy, so that all transactions of the block wait until its end."""
        begun, goes_on = Event(), Event()

        def hold() -> None:
            begun.set()
            goes_on.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.writer.run, hold)
            await to_thread.run_sync(begun.wait)
            try:
                yield
            finally:
                goes_on.set()

    async def write_together(self, *works: Work) -> list[Any]:
        """The answers, or the errors, of transactions that wait at the same time."""
        async with self.held():
            asked = asyncio.gather(*map(self.writer.write, works), return_exceptions=True)
            await asyncio.sleep(0)  # they are tasks, and wait after their first step
        return list(await asked)


@pytest_asyncio.fixture
async def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rows]:
    """Nothing, at first. A group is as large as can be."""
    monkeypatch.setattr(group_writer, "GROUP_SECONDS", 60)
    rows = Rows(tmp_path / "catalog.db")
    await rows.create()
    yield rows
    await rows.writer.close(10)
    rows.queue.close()
    rows.engine.dispose()


def add(number: int, beside: int | None = None) -> Work:
    """Add a row; the answer is its number."""

    def work(db: Connection) -> int:
        db.execute(text("INSERT INTO numbers VALUES (:n, :b)"), {"n": number, "b": beside})
        return number

    return work


def refuse(work: Work) -> Work:
    """Do it, and raise."""

    def refused(db: Connection) -> None:
        work(db)
        raise LookupError

    return refused


def give_up(db: Connection) -> None:
    """End the transaction as SQLite does when a disk is full."""
    raw: Any = db.connection.dbapi_connection
    if raw.in_transaction:
        raw.execute("ROLLBACK")


async def test_what_waits_together_is_committed_together(rows: Rows) -> None:
    """With one commit."""
    assert await rows.write_together(*map(add, range(20))) == list(range(20))
    assert rows.commits == 1
    assert await rows.numbers() == list(range(20))


async def test_a_group_is_limited(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were done first do not wait for any number of others, nor for slow ones."""
    monkeypatch.setattr(group_writer, "GROUP_TRANSACTIONS", 5)
    await rows.write_together(*map(add, range(20)))
    assert rows.commits == 4
    monkeypatch.setattr(group_writer, "GROUP_SECONDS", 0)
    await rows.write_together(*map(add, range(20, 23)))
    assert rows.commits == 4 + 3


@pytest.mark.parametrize("place", range(4))
async def test_one_that_raises_undoes_its_own_changes(rows: Rows, place: int) -> None:
    """Also if it is the first of its group; a row that it wrote may be written by the next."""
    works = list(map(add, range(4)))
    works.insert(place, refuse(add(0 if place == 0 else 9)))
    answers = await rows.write_together(*works)
    assert isinstance(answers.pop(place), LookupError)
    assert answers == list(range(4))
    assert await rows.numbers() == list(range(4))


async def test_a_statement_that_fails_is_told_to_its_caller(rows: Rows) -> None:
    """The catalog's error, and not the database's."""
    first, again, other = await rows.write_together(add(1), add(1), add(2))
    assert (first, other) == (1, 2)
    assert isinstance(again, CatalogError)
    assert await rows.numbers() == [1, 2]


@pytest.mark.parametrize("place", range(4))
async def test_a_transaction_that_sqlite_gave_up_is_repeated_one_by_one(
    rows: Rows, place: int
) -> None:
    """What was done before is lost with it, and no caller learns of that."""
    works = list(map(add, range(3)))
    works.insert(place, give_up)
    answers = await rows.write_together(*works)
    answers.pop(place)
    assert answers == list(range(3))
    assert await rows.numbers() == list(range(3))


async def test_a_commit_that_is_refused_is_so_for_one(rows: Rows) -> None:
    """Only the one because of which it was refused hears of it."""
    first, wrong, last = await rows.write_together(add(1), add(2, beside=99), add(3))
    assert (first, last) == (1, 3)
    assert isinstance(wrong, CatalogError)
    assert await rows.numbers() == [1, 3]


async def test_a_single_commit_that_is_refused(rows: Rows) -> None:
    """Nothing waits with it."""
    with pytest.raises(CatalogError, match="constraints"):
        await rows.writer.write(add(2, beside=99))
    assert await rows.numbers() == []


async def test_a_caller_that_gives_up_takes_back_what_has_not_begun(rows: Rows) -> None:
    """And it is never done."""
    async with rows.held():
        with anyio.move_on_after(0):
            await rows.writer.write(add(1))
    assert await rows.numbers() == []


async def test_a_caller_that_gives_up_later_gets_its_answer(rows: Rows) -> None:
    """It must know what it has claimed."""
    begun, goes_on = Event(), Event()
    answers: list[object] = []

    def slow(db: Connection) -> object:
        begun.set()
        goes_on.wait()
        return add(1)(db)

    async def ask() -> None:
        answers.append(await rows.writer.write(slow))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()
        asyncio.get_running_loop().call_later(0.01, goes_on.set)
    assert answers == [1]
    assert await rows.numbers() == [1]


async def test_what_is_done_alone_is_in_no_group(rows: Rows) -> None:
    """It ends its transaction by itself, and those around it are committed."""

    def trial(db: Connection) -> None:
        add(5)(db)
        db.rollback()

    async with rows.held():
        asked = asyncio.gather(
            rows.writer.write(add(1)), rows.writer.write_alone(trial), rows.writer.write(add(2))
        )
        await asyncio.sleep(0)
    await asked
    assert await rows.numbers() == [1, 2]


async def test_closing_refuses_what_waits(rows: Rows) -> None:
    """What is being written is waited for."""
    async with rows.held():
        asked = asyncio.ensure_future(rows.writer.write(add(1)))
        await asyncio.sleep(0)
        await rows.writer.close(0)
        with pytest.raises(CatalogError, match="closed"):
            await asked
    with pytest.raises(CatalogError, match="closed"):
        await rows.writer.write(add(1))


async def test_an_error_of_another_kind_leaves_none_waiting(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens to a group, each of it is answered: by itself, if it can be."""
    members = rows.writer._members

    def broken(**options: bool) -> Iterator[Any]:
        yield from members(**options)
        monkeypatch.undo()
        raise RuntimeError("broken")

    monkeypatch.setattr(rows.writer, "_members", broken)
    with anyio.fail_after(10):
        assert await rows.write_together(add(1), add(2)) == [1, 2]
    assert await rows.numbers() == [1, 2]


async def test_without_a_thread_the_next_call_gets_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system had no more, for a moment."""
    rows = Rows(tmp_path / "catalog.db")
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError):
            await rows.writer.write(add(1))
    with anyio.fail_after(10):
        await rows.create()
        assert await rows.numbers() == []
    await rows.writer.close(10)
    rows.engine.dispose()


def no_more_threads(_: Thread) -> None:
    """Like Thread.start at the limit of the system."""
    raise RuntimeError("can't start new thread")
