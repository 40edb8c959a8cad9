"""A database that tells how long its transactions take: the database within, and a meter.

Every call of an SQL catalog is one transaction, so ``SqlCatalog(MeteredDatabase(…))`` is a
measured catalog. Transactions, their second tries and their cancelling are as they are within.
"""

from __future__ import annotations

from typing import TypeVar

from imaged.catalogs.database import Database, Transaction
from imaged.ports.meter import Meter, Timing

T = TypeVar("T")

#: What a meter is told of.
TRANSACTIONS = ("read", "write", "check")


class MeteredDatabase:
    """Is a ``Database``."""

    def __init__(self, database: Database, meter: Meter) -> None:
        self.inner = database
        self._meter = meter

    @property
    def busy(self) -> int:
        """How many transactions are running."""
        return self.inner.busy

    @property
    def connections_limit(self) -> int:
        """How many connections there can be."""
        return self.inner.connections_limit

    @property
    def second_tries(self) -> int:
        """How often a transaction was begun anew."""
        return self.inner.second_tries

    @property
    def log_bytes(self) -> int | None:
        """How long the write-ahead log is; None where a server keeps it."""
        return self.inner.log_bytes

    async def read(self, transaction: Transaction[T]) -> T:
        """Run one that only reads. Raises CatalogError."""
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
        """Make sure that it answers. Raises CatalogError."""
        with Timing(self._meter, "check"):
            await self.inner.check()

    async def check_writable(self) -> None:
        """Write something, and take it back. Raises CatalogError."""
        with Timing(self._meter, "check"):
            await self.inner.check_writable()

    async def shorten_log(self) -> None:
        """Cut the write-ahead log off where it is long. Raises CatalogError."""
        await self.inner.shorten_log()

    async def close(self) -> None:
        """Wait for what runs, and let go of every connection."""
        await self.inner.close()
