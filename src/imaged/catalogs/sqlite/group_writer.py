"""The writer of this process: transactions that wait at the same time are committed together.

A commit waits for the disk, and the next transaction for that commit. So a thread runs all
transactions that wait, one after the other, in one transaction of SQLite, and commits them with one
flush; its callers are answered then. Each but the first runs behind a savepoint, so one that raises
undoes its own changes and no others. Where SQLite gives up the whole transaction, or refuses the
commit, nothing of the group has happened, and each of it runs again by itself, for an answer of its
own.

A caller that gives up before its transaction has begun takes it back; one that gives up later gets
its answer. Renewals of leases go before all that wait, also before those of other processes
(``writer_queue.py``), and take no others along.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Any, TypeVar

from anyio import CancelScope, to_thread
from sqlalchemy import Connection, Engine

from imaged.catalogs.database import Transaction
from imaged.catalogs.sqlite.engine import (
    DatabaseBusy,
    begun,
    run_transaction,
    translated_errors,
)
from imaged.catalogs.sqlite.writer_queue import WriterQueue
from imaged.core.errors import CatalogError

T = TypeVar("T")

GROUP_TRANSACTIONS = 64  # at most in one commit
GROUP_SECONDS = 0.02  # then a group takes no more: those that it has done wait for their answer
IDLE_THREAD_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class _Job:
    """A transaction, and what came of it. ``alone``: it is not part of a group."""

    work: Callable[[Connection], Any]
    _: KW_ONLY
    goes_first: bool = False
    alone: Callable[[], Any] | None = None
    has_begun: bool = False
    answer: Any = None
    error: BaseException | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    context: Context = field(default_factory=copy_context)

    def run(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Keep the answer of ``work``, or its error."""
        self.answer = self.error = None
        try:
            self.answer = self.context.run(work, *arguments)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self.error = error


class GroupWriter:
    """Runs transactions that write, in a thread that lives while there are some."""

    def __init__(self, engine: Engine, path: Path, queue: WriterQueue) -> None:
        self._engine = engine
        self._path = path
        self._queue = queue
        self._changed = Condition()
        self._first: deque[_Job] = deque()
        self._others: deque[_Job] = deque()
        self._thread: Thread | None = None
        self._is_closed = False
        self.second_tries = 0

    async def write(self, work: Transaction[T], *, goes_first: bool = False) -> T:
        """Run a transaction; what it wrote is on the disk then.

        Raises CatalogError, and what ``work`` raises.
        """
        answer: T = await self._do(_Job(work, goes_first=goes_first))
        return answer

    async def write_alone(self, work: Transaction[T]) -> T:
        """Run one that ends its transaction by itself. Raises like ``write``."""
        return await self.run(partial(run_transaction, self._engine, self._path, work))

    async def run(self, call: Callable[[], T]) -> T:
        """Call a function while nothing of this process is written. Raises what it raises."""
        answer: T = await self._do(_Job(_nothing, alone=call))
        return answer

    async def close(self, timeout_seconds: float) -> None:
        """Refuse what has not begun, and wait a limited time for what has."""
        with self._changed:
            self._is_closed = True
            thread = self._thread
            refused = [*self._first, *self._others]
            self._first.clear()
            self._others.clear()
            self._changed.notify_all()
        for job in refused:
            job.error = self._closed_error()
        self._answer(refused)
        if thread is not None:
            with CancelScope(shield=True):
                await to_thread.run_sync(thread.join, timeout_seconds)

    async def _do(self, job: _Job) -> Any:
        self._add(job)
        try:
            await job.ended.wait()
        except asyncio.CancelledError:
            if self._take_back(job):
                raise
            with CancelScope(shield=True):
                await job.ended.wait()
        if job.error is not None:
            raise job.error
        return job.answer

    def _add(self, job: _Job) -> None:
        with self._changed:
            if self._is_closed:
                raise self._closed_error()
            if self._thread is None:
                thread = Thread(target=self._work, name="imaged-writer", daemon=True)
                thread.start()  # if the system has no more threads, nothing waits for this one
                self._thread = thread
            (self._first if job.goes_first else self._others).append(job)
            self._changed.notify_all()

    def _take_back(self, job: _Job) -> bool:
        """Whether it has not begun; it never begins then."""
        with self._changed:
            if not job.has_begun:
                for waiting in (self._first, self._others):
                    with suppress(ValueError):
                        waiting.remove(job)
            return not job.has_begun

    def _work(self) -> None:
        """Write what waits until nothing has come for a while. Runs in the thread."""
        while self._wait():
            goes_first = bool(self._first)
            write = partial(self._write_next, goes_first=goes_first)
            try:
                self._queue.run(write, goes_first=goes_first)
            except DatabaseBusy:  # callers may have given up meanwhile
                self.second_tries += 1
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                self._fail_next(error)

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(
                lambda: self._first or self._others or self._is_closed, IDLE_THREAD_SECONDS
            )
            if not self._first and not self._others:
                self._thread = None
                return False
            return True

    def _write_next(self, *, goes_first: bool) -> None:
        """Write a group, or what is to be done alone. Raises DatabaseBusy if nothing was begun."""
        if job := self._take(goes_first=goes_first, alone=True):
            self._do_alone(job)
        else:
            self._write_group(goes_first=goes_first)

    def _do_alone(self, job: _Job) -> None:
        job.run(job.alone or _nothing)
        if isinstance(job.error, DatabaseBusy):
            self._put_back([job])
            raise DatabaseBusy from job.error
        self._answer([job])

    def _write_group(self, *, goes_first: bool) -> None:
        group: list[_Job] = []
        try:
            with begun(self._engine, self._path) as db:
                for job in self._members(goes_first=goes_first):
                    group.append(job)
                    self._write_one(db, job, is_first=len(group) == 1)
        except _Refused:
            pass  # the only one, which has its error
        except Exception as error:
            if not group:
                raise
            if len(group) > 1:  # nothing of it is committed
                for job in group:
                    job.alone = partial(run_transaction, self._engine, self._path, job.work)
                self._put_back(group)
                return
            group[0].error = error
        self._answer(group)

    def _members(self, *, goes_first: bool) -> Iterator[_Job]:
        """The jobs of one group, as long as there are some and it is not too large."""
        until = monotonic() + GROUP_SECONDS
        for number in range(GROUP_TRANSACTIONS):
            if number and monotonic() >= until:
                return
            job = self._take(goes_first=goes_first)
            if job is None:
                return
            yield job

    def _write_one(self, db: Connection, job: _Job, *, is_first: bool) -> None:
        """Raises _Refused if it is the first one and has an error; CatalogError if the transaction
        of the whole group is lost.
        """
        raw: Any = db.connection.dbapi_connection
        if not is_first:
            raw.execute("SAVEPOINT of_one")
        job.run(self._translated, job.work, db)
        if is_first and job.error is not None:
            raise _Refused
        if not raw.in_transaction:
            raise CatalogError(f"The catalog {self._path} gave up a transaction.")
        if not is_first:
            if job.error is not None:
                raw.execute("ROLLBACK TO of_one")
            raw.execute("RELEASE of_one")

    def _translated(self, work: Transaction[T], db: Connection) -> T:
        with translated_errors(self._path):
            return work(db)

    def _take(self, *, goes_first: bool, alone: bool = False) -> _Job | None:
        """The next one, which begins; None if there is none, or it is of the other kind."""
        with self._changed:
            waiting = self._first if goes_first or self._first else self._others
            if not waiting or (waiting[0].alone is not None) != alone:
                return None
            job = waiting.popleft()
            job.has_begun = True
            return job

    def _fail_next(self, error: Exception) -> None:
        """Answer one job with the error that let none begin."""
        for alone in (False, True):
            if job := self._take(goes_first=False, alone=alone):
                job.error = error
                self._answer([job])
                return

    def _put_back(self, jobs: list[_Job]) -> None:
        """Let them wait again, before all others: nothing of them has happened."""
        with self._changed:
            refused = self._is_closed
            if not refused:
                for job in reversed(jobs):
                    job.has_begun = False
                    (self._first if job.goes_first else self._others).appendleft(job)
        if refused:
            for job in jobs:
                job.error = self._closed_error()
            self._answer(jobs)

    def _answer(self, jobs: list[_Job]) -> None:
        for loop in {job.loop for job in jobs}:
            with suppress(RuntimeError):  # the loop is closed, and nothing waits
                loop.call_soon_threadsafe(_end, [job for job in jobs if job.loop is loop])

    def _closed_error(self) -> CatalogError:
        return CatalogError(f"The catalog {self._path} is closed.")


class _Refused(Exception):
    """The first transaction of a group raised, so that there is nothing to commit."""


def _end(jobs: list[_Job]) -> None:
    for job in jobs:
        job.ended.set()


def _nothing(*_: Connection) -> None:
    """The transaction of a job that has none."""
