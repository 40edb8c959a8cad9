"""Reads of PostgreSQL that are one statement, and so need no transaction.

A transaction costs two round trips more, and SQLAlchemy's way to the driver as much processor time
as everything else. One statement sees one state anyway. So a read that is expected to be one
statement gets this instead of a connection of SQLAlchemy: it gives that statement to the driver.
Whatever turns out to need more is begun again in a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from sqlalchemy import Connection, Dialect
from sqlalchemy.util import await_


class NeedsTransaction(Exception):
    """The read has several statements, or one that failed: run it in a transaction."""


class SingleRead(Connection):
    """Executes one prepared statement. ``raw``: an idle connection of asyncpg.

    A connection of SQLAlchemy for types only; it has none of its parts.
    """

    def __init__(self, raw: Any, dialect: Dialect) -> None:
        self.dialect = dialect
        self._raw = raw
        self._is_spent = False

    def fetch(
        self, sql: str, values: Sequence[Any], *, only_estimates: bool = False
    ) -> Sequence[Any]:
        """The rows of a statement. Raises NeedsTransaction if there was one before it, except
        those that only estimate; errors of asyncpg.
        """
        if self._is_spent:
            raise NeedsTransaction
        self._is_spent = not only_estimates
        found: Sequence[Any] = await_(self._raw.fetch(sql, *values))
        return found

    def execute(self, *_: Any, **__: Any) -> NoReturn:
        """What is not prepared has to be executed in a transaction."""
        raise NeedsTransaction
