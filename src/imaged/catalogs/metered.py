"""A database that reports to a meter how long the transactions of another database take.

Every call of an SQL catalog is one transaction, so ``SqlCatalog(MeteredDatabase(…))`` is a measured
catalog. Transactions, restarts and cancellation are unchanged.
"""

from __future__ import annotations

from typing import TypeVar

from imaged.catalogs.database import Database, Transaction
from imaged.ports.meter import Meter, Timing

T = TypeVar("T")

#: The operations that a meter is told of.
TRANSACTIONS = ("read", "write", "check")


class MeteredDatabase:
    """Measures a database. Is a ``Database``."""

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

    async def read_list(self, transaction: Transaction[T]) -> T:
        """Run one that reads a page of a list. Raises ListTooSlow, CatalogError."""
        with Timing(self._meter, "read"):
            return await self.inner.read_list(transaction)

    async def write(self, transaction: Transaction[T]) -> T:
        """Run one that writes. Raises CatalogError."""
        with Timing(self._meter, "write"):
            return await self.inner.write(transaction)

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
