"""How an SQL catalog runs its transactions, and tests whether its database works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from secrets import token_hex
from typing import Protocol, TypeVar
from uuid import uuid4

from anyio import move_on_after
from sqlalchemy import Connection, insert, select

from imaged.catalogs import dialects
from imaged.catalogs.installation_tables import instances
from imaged.catalogs.tables import tombstones
from imaged.core.errors import ListTooSlow
from imaged.core.limits import KIB
from imaged.ports.meter import Meter, Timing

T = TypeVar("T")
Transaction = Callable[[Connection], T]

#: The largest size of a record with all of its properties.
PROBE_BYTES = 256 * KIB
#: How long a list waits until it is begun, because others are read.
LIST_WAIT_SECONDS = 5.0


class ListBudgetSpent(Exception):
    """The statements of a list took too long. Strictly private: the catalog says what to do."""

    def __init__(self, budget: timedelta) -> None:
        super().__init__(budget)
        self.budget = budget


class Database(Protocol):
    """Runs transactions, and translates all errors into those of the core."""

    @property
    def busy(self) -> int:
        """The number of running transactions."""
        ...

    @property
    def connections_limit(self) -> int:
        """The maximum number of connections."""
        ...

    @property
    def second_tries(self) -> int:
        """How often a transaction was restarted since the process began."""
        ...

    @property
    def log_bytes(self) -> int | None:
        """The length of the write-ahead log; None if a server manages it."""
        ...

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction; all its statements see one state. Raises CatalogError."""
        ...

    async def read_short(self, transaction: Transaction[T]) -> T:
        """Run one that reads a few rows by their keys, and nothing else. Raises CatalogError."""
        ...

    async def read_list(
        self,
        transaction: Transaction[T],
        budget: timedelta,
        *,
        is_short: bool = False,
        is_single: bool = False,
    ) -> T:
        """Run one that reads a page of a list. Few run at once, and each has a budget of the
        database's time, so that renewals of leases never wait for them: of a processor where it
        can be told, else by the clock.

        ``is_short``: it converts a few rows, and may be run twice. ``is_single``: it reads with one
        statement, besides those that count. Raises ListBudgetSpent; ListTooSlow if it was not begun
        within ``LIST_WAIT_SECONDS``; CatalogError.
        """
        ...

    async def write(self, transaction: Transaction[T], *, goes_first: bool = False) -> T:
        """Run one that writes: all of it, or nothing if it raises. Raises CatalogError.

        ``goes_first``: before others that wait, where writers queue. For renewals of leases.
        """
        ...

    async def write_image(self, image_id: str, transaction: Transaction[T]) -> T:
        """Run one that writes this image. Where changes of one image wait for each other, they take
        no connection meanwhile. Raises CatalogError.
        """
        ...

    async def check(self) -> None:
        """Check quickly that the database answers. Raises CatalogError."""
        ...

    async def check_writable(self) -> None:
        """Write as much as a large record to the disk, and roll it back. Raises CatalogError."""
        ...

    async def shorten_log(self) -> None:
        """Truncate the write-ahead log if it is long and no server does so. Raises CatalogError.

        Readers of other processes may prevent it; a later call then succeeds.
        """
        ...

    async def close(self) -> None:
        """Wait for running transactions, and close every connection."""
        ...


class MeteredDatabase:
    """A database that reports to a meter how long the transactions of another one take.

    Every call of an SQL catalog is one transaction, so ``SqlCatalog(MeteredDatabase(…))`` is a
    measured catalog. Transactions, restarts and cancellation are unchanged.
    """

    def __init__(self, database: Database, meter: Meter) -> None:
        self.inner = database
        self._meter = meter

    @property
    def busy(self) -> int:
        """The number of running transactions."""
        return self.inner.busy

    @property
    def connections_limit(self) -> int:
        """The maximum number of connections."""
        return self.inner.connections_limit

    @property
    def second_tries(self) -> int:
        """How often a transaction was restarted."""
        return self.inner.second_tries

    @property
    def log_bytes(self) -> int | None:
        """The length of the write-ahead log; None if a server manages it."""
        return self.inner.log_bytes

    async def read(self, transaction: Transaction[T]) -> T:
        """Run a read-only transaction. Raises CatalogError."""
        with Timing(self._meter, "read"):
            return await self.inner.read(transaction)

    async def read_short(self, transaction: Transaction[T]) -> T:
        """Run one that reads a few rows. Raises CatalogError."""
        with Timing(self._meter, "read"):
            return await self.inner.read_short(transaction)

    async def read_list(
        self,
        transaction: Transaction[T],
        budget: timedelta,
        *,
        is_short: bool = False,
        is_single: bool = False,
    ) -> T:
        """Run one that reads a page of a list. Raises what ``Database`` says."""
        with Timing(self._meter, "read"):
            return await self.inner.read_list(
                transaction, budget, is_short=is_short, is_single=is_single
            )

    async def write(self, transaction: Transaction[T], *, goes_first: bool = False) -> T:
        """Run one that writes. Raises CatalogError."""
        with Timing(self._meter, "write"):
            return await self.inner.write(transaction, goes_first=goes_first)

    async def write_image(self, image_id: str, transaction: Transaction[T]) -> T:
        """Run one that writes this image. Raises CatalogError."""
        with Timing(self._meter, "write"):
            return await self.inner.write_image(image_id, transaction)

    async def check(self) -> None:
        """Check that the database answers. Raises CatalogError."""
        with Timing(self._meter, "check"):
            await self.inner.check()

    async def check_writable(self) -> None:
        """Write something, and roll it back. Raises CatalogError."""
        with Timing(self._meter, "check"):
            await self.inner.check_writable()

    async def shorten_log(self) -> None:
        """Truncate the write-ahead log if it is long. Raises CatalogError."""
        await self.inner.shorten_log()

    async def close(self) -> None:
        """Wait for running transactions, and close every connection."""
        await self.inner.close()


@contextmanager
def list_timeout(seconds: float) -> Iterator[None]:
    """Cancel the block after this long. Raises ListTooSlow."""
    with move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise ListTooSlow(seconds)


def probe(db: Connection) -> None:
    """The smallest transaction that needs the tables."""
    db.execute(select(tombstones.c.id).limit(1)).first()


def write_and_roll_back(db: Connection) -> None:
    """Need as much space as a large record does, and leave nothing."""
    now = dialects.now(db)
    trial = {
        "id": f"trial-{uuid4()}",
        "version": token_hex(PROBE_BYTES // 2),  # incompressible
        "roles": [],
        "started_at": now,
        "seen_at": now,
    }
    db.execute(insert(instances), trial)
    db.rollback()
