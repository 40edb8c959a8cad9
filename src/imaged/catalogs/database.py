"""What runs the transactions of an SQL catalog: SQLite, PostgreSQL, or one of them with a meter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")
Transaction = Callable[[Connection], T]


class Database(Protocol):
    """Runs transactions, and lets nothing out but our own errors."""

    @property
    def busy(self) -> int:
        """How many transactions are running."""
        ...

    @property
    def connections_limit(self) -> int:
        """How many connections there can be."""
        ...

    @property
    def second_tries(self) -> int:
        """How often a transaction had to be begun anew, since the process began."""
        ...

    @property
    def log_bytes(self) -> int | None:
        """How long the write-ahead log is; None where a server keeps it."""
        ...

    async def read(self, transaction: Transaction[T]) -> T:
        """Run one that only reads; all its statements see one state. Raises CatalogError."""
        ...

    async def read_list(self, transaction: Transaction[T]) -> T:
        """Run one that reads a page of a list. Few run at once, and none for longer than
        ``LIST_TIMEOUT_SECONDS``: what keeps claims alive never waits for them. Raises ListTooSlow,
        CatalogError.
        """
        ...

    async def write(self, transaction: Transaction[T]) -> T:
        """Run one that writes: all of it, or nothing if it raises. Raises CatalogError."""
        ...

    async def check(self) -> None:
        """Make sure that it answers, and soon. Raises CatalogError."""
        ...

    async def check_writable(self) -> None:
        """Write as much as a large record to the disk, and take it back. Raises CatalogError."""
        ...

    async def shorten_log(self) -> None:
        """Cut the write-ahead log off where it is long and no server does so. Raises CatalogError.

        Readers of other processes may be in the way; then a later call does it.
        """
        ...

    async def close(self) -> None:
        """Wait for what runs, and let go of every connection."""
        ...
