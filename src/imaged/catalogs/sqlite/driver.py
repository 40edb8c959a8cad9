"""SQLite: one file, any number of processes.

Strategy. Each transaction runs as a whole in a thread, so the event loop pays for one hop and not
for one per statement. This process has one writer (``group_writer.py``), whose queue is first in,
first out, but for renewals of leases, which go first; it commits together what waits together. It
waits for its turn among those of other processes (``writer_queue.py``), and at BEGIN for those that
do not queue, as long as a caller waits, and nowhere else, so no transaction is left half done.
Readers have connections of their own and wait for no lock (WAL). A commit is on the disk when it
returns: it is ``synchronous=FULL``.

A caller that is cancelled while its transaction runs returns when it has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

import structlog
from anyio import CancelScope, CapacityLimiter, move_on_after, to_thread
from anyio.lowlevel import checkpoint
from sqlalchemy import Engine, QueuePool

from imaged.catalogs.database import (
    LIST_WAIT_SECONDS,
    ListBudgetSpent,
    Transaction,
    list_timeout,
    probe,
    write_and_roll_back,
)
from imaged.catalogs.sqlite.engine import (
    LIST_PAGES,
    LONG_LOG_BYTES,
    DatabaseBusy,
    make_engine,
    run_transaction,
    shorten_log,
    with_budget,
    with_small_cache,
    write_ahead_log_bytes,
)
from imaged.catalogs.sqlite.group_writer import GroupWriter
from imaged.catalogs.sqlite.loop_reader import LoopReader, MustWait
from imaged.catalogs.sqlite.page_cache import PageCache
from imaged.catalogs.sqlite.writer_queue import WriterQueue
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
    prevent that, after writes at least ``shorten_every_seconds`` apart.
    """

    long_log_bytes: int = LONG_LOG_BYTES
    shorten_every_seconds: float = 10
    list_wait_seconds: float = LIST_WAIT_SECONDS  # that a list may wait for its turn


class SqliteDatabase:
    """Runs transactions on one file."""

    connections_limit = READ_CONNECTIONS + LIST_CONNECTIONS + 1

    def __init__(self, path: Path, settings: SqliteSettings | None = None) -> None:
        self._path = path
        self.settings = settings or SqliteSettings()
        make = partial(make_engine, path, long_log_bytes=self.settings.long_log_bytes)
        self._second_tries = 0  # of readers
        self.writer = make(begin="BEGIN IMMEDIATE", connections=1)
        self.readers = make(begin="BEGIN", connections=READ_CONNECTIONS)
        self.listers = make(begin="BEGIN", connections=LIST_CONNECTIONS, pages=LIST_PAGES)
        on_loop = partial(make, begin="", connections=1, busy_seconds=0)
        self.loop_reader, self.loop_lister = LoopReader(on_loop()), LoopReader(on_loop())
        self.page_cache = PageCache(path)
        self._listing = CapacityLimiter(LIST_CONNECTIONS)
        self._reading = CapacityLimiter(READ_CONNECTIONS)
        self._shorten_from = 0.0
        self._has_failed = False  # to write, and until a test write succeeds
        self._shortening = False  # readers keep out
        self._closed = False
        self._writers = WriterQueue(path)
        self._writing = GroupWriter(self.writer, path, self._writers)

    @property
    def busy(self) -> int:
        """The number of running transactions."""
        pools = (self.writer.pool, self.readers.pool, self.listers.pool)
        return sum(pool.checkedout() for pool in pools if isinstance(pool, QueuePool))

    @property
    def second_tries(self) -> int:
        """How often a transaction was tried again since the process began."""
        return self._second_tries + self._writing.second_tries

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction."""
        return await self._run(self.readers, self._reading, transaction)

    async def read_short(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction of a few rows: here, if it cannot wait for anything."""
        if await self._may_read_here():
            with suppress(MustWait):
                return self.loop_reader.read(transaction)
        return await self.read(transaction)

    async def read_list(
        self,
        transaction: Transaction[T],
        budget: timedelta,
        *,
        is_short: bool = False,
        is_single: bool = False,  # noqa: ARG002 - statements cost no round trips
    ) -> T:
        """Run a transaction that reads a page of a list."""
        if is_short and await self._may_read_here():
            with suppress(MustWait):
                return self.loop_lister.read(transaction)
        seconds = budget.total_seconds()
        limited = with_budget(transaction, seconds)
        with list_timeout(self.settings.list_wait_seconds + seconds):
            try:
                return await self._run(self.listers, self._listing, limited)
            except TimeoutError as error:
                raise ListBudgetSpent(budget) from error

    async def write(self, transaction: Transaction[T], *, goes_first: bool = False) -> T:
        """Run a transaction that writes."""
        try:
            answer = await self._writing.write(transaction, goes_first=goes_first)
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

    async def write_image(self, image_id: str, transaction: Transaction[T]) -> T:  # noqa: ARG002
        """Run a transaction that writes: there is one writer, for all images."""
        return await self.write(transaction)

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
        await self._writing.write_alone(with_small_cache(write_and_roll_back))

    async def close(self) -> None:
        """Wait a limited time for running transactions, then close every connection."""
        if self._closed:
            return
        self._closed = True
        with move_on_after(CLOSE_TIMEOUT_SECONDS, shield=True):
            await self._writing.close(CLOSE_TIMEOUT_SECONDS)
            for limiter in (self._reading, self._listing):
                for _ in range(int(limiter.total_tokens)):
                    await limiter.acquire_on_behalf_of(object())  # until the end
        with CancelScope(shield=True):
            await to_thread.run_sync(self.writer.dispose)
            await to_thread.run_sync(self.readers.dispose)
            await to_thread.run_sync(self.listers.dispose)
        self._writers.close()
        self.loop_reader.close()
        self.loop_lister.close()
        self.page_cache.close()

    async def _may_read_here(self) -> bool:
        if self.page_cache.is_check_due():
            await to_thread.run_sync(self._prepare_loop_reads)
        return self.page_cache.is_in_memory and not self._closed and not self._shortening

    def _prepare_loop_reads(self) -> None:
        self.page_cache.check()
        self.loop_reader.connect()
        self.loop_lister.connect()

    async def _shorten_log(self) -> None:
        """Keep readers of this process from starting until the log is in the file: SQLite restarts
        it only when it has no reader, and overlapping readers always leave one. Lists,
        which may be slow, are waited for while others read; then it takes a moment, or is
        left to a later call. Readers of other processes are not waited for.
        """
        async with AsyncExitStack() as held:
            with move_on_after(self.settings.list_wait_seconds) as patience:
                await _acquire_all(self._listing, held)
            if patience.cancelled_caught:
                return
            with move_on_after(MAX_READ_PAUSE_SECONDS):
                held.enter_context(self._without_loop_reads())
                await _acquire_all(self._reading, held)
                await self._writing.run(partial(shorten_log, self.writer, self._path))

    @contextmanager
    def _without_loop_reads(self) -> Iterator[None]:
        self._shortening = True
        try:
            yield
        finally:
            self._shortening = False

    async def _run(self, engine: Engine, limiter: CapacityLimiter, work: Transaction[T]) -> T:
        run = partial(run_transaction, engine, self._path, work)
        while not self._closed:
            try:
                return await to_thread.run_sync(run, limiter=limiter)
            except DatabaseBusy:
                self._second_tries += 1
                await checkpoint()
        raise CatalogError(f"The catalog {self._path} is closed.")


async def _acquire_all(limiter: CapacityLimiter, held: AsyncExitStack) -> None:
    for _ in range(int(limiter.total_tokens)):
        token = object()
        await limiter.acquire_on_behalf_of(token)
        held.callback(limiter.release_on_behalf_of, token)
