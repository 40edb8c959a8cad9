"""PostgreSQL: one server, any number of instances on any number of machines.

Strategy. Each transaction runs in a task of its own. A caller that is cancelled or out of time
cancels that task and waits until it has ended: so an open transaction is rolled back and its
connection returns to the pool or is closed, however the cancellation came.

Readers see one state (REPEATABLE READ), because several statements read an image. Writers see what
is committed (READ COMMITTED) and lock the rows that their decisions depend on, in the port's order;
docs/decisions/0012 lists each statement's locks. Changes of images wait for their turn before that
(``turns.py``).

A transaction is retried a few times if it is certain that nothing of it was committed: its
connection was lost before the commit was sent (so the first call after a restart of the server
works), or the server rolled it back. A commit without an answer is an error, because its outcome is
unknown.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from anyio import CancelScope, CapacityLimiter, current_time
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from imaged.catalogs import migrations
from imaged.catalogs.database import (
    ListBudgetSpent,
    Transaction,
    list_timeout,
    write_and_roll_back,
)
from imaged.catalogs.postgresql.connector import POOL_SIZE, Connector
from imaged.catalogs.postgresql.errors import (
    DRIVER_ERRORS,
    READ_ONLY_STATE,
    SQLSTATE_MESSAGES,
    DatabaseFault,
    catalog_error_of,
    classify_error,
    translated_errors,
)
from imaged.catalogs.postgresql.requirements import is_read_only, require_usable
from imaged.catalogs.postgresql.settings import PostgresqlSettings
from imaged.catalogs.postgresql.single_reads import SingleReads
from imaged.catalogs.postgresql.turns import Turns
from imaged.catalogs.postgresql.url import display_name_of, parse_catalog_url
from imaged.catalogs.single_read import NeedsTransaction
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError, CatalogFull

T = TypeVar("T")

MIGRATION_TIMEOUT_SECONDS = 24 * 3600
ROLLBACK_TIMEOUT_SECONDS = 5
CLOSE_TIMEOUT_SECONDS = 30
MAX_ATTEMPTS = 4
MAX_LISTS = 4  # connections that lists may use; the others are for claims and records
FEWEST_CONNECTIONS = 3  # of a process: for a list, for other calls, and for leases
MAX_RETRY_PAUSE_SECONDS = 0.05  # at most, before a retry


class PostgresqlDatabase:
    """Runs transactions on one database."""

    log_bytes = None  # of the server, which sets it by itself

    def __init__(
        self, url: str, password_file: Path | None = None, connections: int = POOL_SIZE
    ) -> None:
        self.connections_limit = connections
        self.name = display_name_of(url)
        self.settings = PostgresqlSettings()
        self.second_tries = 0
        self.connector = Connector(parse_catalog_url(url), password_file)
        self.engine = self.connector.make_engine(connections)
        self._readers = self.engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._writers = self.engine.execution_options(isolation_level="READ COMMITTED")
        self._single = SingleReads(self.engine, self.name)
        self._running: set[asyncio.Task[Any]] = set()
        self._listing = CapacityLimiter(max(1, min(MAX_LISTS, connections // 2)))
        self._turns = Turns()
        self._was_full = False  # after a write, and until a test write succeeds
        self._closed = False

    @classmethod
    async def connect(
        cls, url: str, password_file: Path | None = None, connections: int = POOL_SIZE
    ) -> PostgresqlDatabase:
        """Connect and detect poolers. Raises CatalogError."""
        database = cls(url, password_file, connections)
        with translated_errors(database.name):
            await database.connector.detect_pooler()
        return database

    @property
    def busy(self) -> int:
        """The number of running transactions."""
        return len(self._running)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return sum(not connection.is_closed() for connection in self.connector.opened)

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction."""
        return await self._run_transaction(
            self._readers, transaction, self.settings.transaction_seconds
        )

    async def read_short(self, transaction: Transaction[T]) -> T:
        """Run a read of a few rows: as one statement without a transaction, if it is one."""
        if not self.connector.is_pooled:
            with suppress(NeedsTransaction):
                seconds = self.settings.transaction_seconds
                return await self._run(self._readers, self._single.run(transaction), seconds)
        return await self.read(transaction)

    async def read_list(
        self,
        transaction: Transaction[T],
        budget: timedelta,
        *,
        is_short: bool = False,  # noqa: ARG002 - a server is always waited for
        is_single: bool = False,
    ) -> T:
        """Run a transaction that reads a page of a list. Its budget begins when it begins."""
        scope = CancelScope()

        def run(db: Connection) -> T:
            scope.deadline = current_time() + budget.total_seconds()
            return transaction(db)

        with list_timeout(self.settings.list_wait_seconds):
            await self._listing.acquire()
        try:
            with scope:
                return await (self.read_short(run) if is_single else self.read(run))
        finally:
            self._listing.release()
        raise ListBudgetSpent(budget)

    async def write(self, transaction: Transaction[T], *, goes_first: bool = False) -> T:
        """Run a transaction that writes. Changes of images wait in turns, and nothing else does."""
        del goes_first
        try:
            return await self._run_transaction(
                self._writers, transaction, self.settings.transaction_seconds
            )
        except CatalogFull:
            self._was_full = True
            raise

    async def write_image(self, image_id: str, transaction: Transaction[T]) -> T:
        """Run a transaction that writes an image, in its turn."""
        try:
            async with self._turns.turn(image_id, self.settings.turn_seconds):
                return await self.write(transaction)
        except TimeoutError as error:
            why = "is busy: other changes took too long, or had no answer"
            raise self._error(DatabaseFault(why)) from error

    async def migrate(self, transaction: Transaction[T]) -> T:
        """Run a transaction that changes the tables, without a time limit."""
        return await self._run_transaction(self._writers, transaction, MIGRATION_TIMEOUT_SECONDS)

    async def read_long(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction without a time limit."""
        return await self._run_transaction(self._readers, transaction, MIGRATION_TIMEOUT_SECONDS)

    async def check(self) -> None:
        """Check quickly that the database answers and accepts writes."""
        if await self._run_transaction(self._readers, is_read_only, self.settings.check_seconds):
            await self.engine.dispose()  # the next connections may find another server
            raise self._error(DatabaseFault(SQLSTATE_MESSAGES[READ_ONLY_STATE]))
        if self._was_full:
            await self.check_writable()
            self._was_full = False

    async def check_writable(self) -> None:
        """Write something, and roll it back."""
        await self._run_transaction(self._writers, write_and_roll_back, self.settings.check_seconds)

    async def shorten_log(self) -> None:
        """Nothing to do: the server manages its log."""

    async def close(self) -> None:
        """Wait a limited time for running transactions, then close every connection."""
        self._closed = True
        with CancelScope(shield=True):
            if self._running:
                await asyncio.wait(self._running, timeout=CLOSE_TIMEOUT_SECONDS)
            await self.engine.dispose()
            for connection in list(self.connector.opened):
                connection.terminate()

    async def _run_transaction(
        self, engine: AsyncEngine, work: Transaction[T], seconds: float
    ) -> T:
        return await self._run(engine, self._try(engine, work), seconds)

    async def _run(self, engine: AsyncEngine, work: Coroutine[Any, Any, T], seconds: float) -> T:
        if self._closed:
            work.close()
            raise self._error(DatabaseFault("is closed", is_temporary=False))
        task = self._begin(work)
        try:
            done, _ = await asyncio.wait([task], timeout=seconds)
            if not done and engine is self._writers:
                self._turns.end_waits()
        finally:
            if not task.done():
                task.cancel()
                with CancelScope(shield=True):
                    await asyncio.wait([task], timeout=ROLLBACK_TIMEOUT_SECONDS)
        if task.cancelled() or not task.done():
            raise self._error(DatabaseFault(f"did not answer within {seconds} seconds"))
        return task.result()

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # the waiting caller may have left

    async def _try(self, engine: AsyncEngine, work: Transaction[T]) -> T:
        for chance in range(1, MAX_ATTEMPTS + 1):
            answer = await self._try_once(engine, work, is_last=chance == MAX_ATTEMPTS)
            if not isinstance(answer, DatabaseFault):
                return answer
            self.second_tries += 1
            await asyncio.sleep(random.random() * MAX_RETRY_PAUSE_SECONDS)  # noqa: S311 - not to meet again
        raise AssertionError("the last try answers or raises")

    async def _try_once(
        self, engine: AsyncEngine, work: Transaction[T], *, is_last: bool
    ) -> T | DatabaseFault:
        is_committing = False
        try:
            async with engine.connect() as db:
                await self.connector.apply_settings(db)
                answer = await db.run_sync(work)
                is_committing = engine is not self._readers
                await db.commit()
                return answer
        except DRIVER_ERRORS as error:
            fault = classify_error(error)
            if is_committing and not fault.is_rolled_back:
                why = "was lost while a change was being committed, and its outcome is unknown"
                raise self._error(DatabaseFault(why)) from error
            if fault.is_retryable_now and not is_last:
                return fault
            raise self._error(fault) from error

    def _error(self, fault: DatabaseFault) -> CatalogError:
        return catalog_error_of(self.name, fault)


async def open_postgresql(
    url: str, password_file: Path | None = None, processes: int = 1
) -> SqlCatalog:
    """Open the catalog of a URL. It must exist and be migrated. ``processes``: so many share the
    connections of one instance.

    Raises CatalogTooOld, CatalogTooNew; CatalogError if it cannot be reached, is no catalog, or its
    server is too old.
    """
    connections = max(FEWEST_CONNECTIONS, ceil(POOL_SIZE / processes))
    database = await PostgresqlDatabase.connect(url, password_file, connections)
    try:
        await database.read(require_usable)
    except BaseException:
        await database.close()
        raise
    return SqlCatalog(database)


async def has_tables(url: str, password_file: Path | None = None) -> bool:
    """Whether the database has a catalog of any revision. Raises CatalogError."""
    database = PostgresqlDatabase(url, password_file)
    try:
        return await database.read(migrations.current_revision) is not None
    finally:
        await database.close()
