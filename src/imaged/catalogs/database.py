"""The interface that runs the transactions of an SQL catalog: SQLite, PostgreSQL, or one with a
meter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Transaction = Callable[[Connection], T]


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

    async def read_list(self, transaction: Transaction[T]) -> T:
        """Run one that reads a page of a list. Few run at once, and each at most
        ``LIST_TIMEOUT_SECONDS``, so that renewals of leases never wait for them. Raises
        ListTooSlow, CatalogError.
        """
        ...

    async def write(self, transaction: Transaction[T]) -> T:
        """Run one that writes: all of it, or nothing if it raises. Raises CatalogError."""
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
