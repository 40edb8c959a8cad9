"""Runs reads of one statement on connections of the pool, without a transaction."""

from __future__ import annotations

from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import Pool
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from imaged.catalogs.database import Transaction
from imaged.catalogs.postgresql.errors import (
    CONNECT_ERRORS,
    DRIVER_ERRORS,
    catalog_error_of,
    classify_error,
)
from imaged.catalogs.single_read import NeedsTransaction, SingleRead

T = TypeVar("T")

#: Errors for which a second attempt would only wait again.
WAITED_IN_VAIN = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError)


class SingleReads:
    """Runs reads of one statement. ``name``: of the database, in errors."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine, self._name = engine, name

    async def run(self, read: Transaction[T]) -> T:
        """Run a read. Raises NeedsTransaction if it is more than one statement, and if it fails:
        SQLAlchemy then finds out which connections are broken; CatalogError if it took too long.
        """
        return await greenlet_spawn(self._run, read)

    def _run(self, read: Transaction[T]) -> T:
        pool: Pool = self._engine.sync_engine.pool
        try:
            connection = pool.connect()
        except DRIVER_ERRORS as error:
            raise NeedsTransaction from error
        raw: Any = connection.driver_connection
        try:
            return read(SingleRead(raw, self._engine.dialect))
        except WAITED_IN_VAIN as error:
            raise catalog_error_of(self._name, classify_error(error)) from error
        except CONNECT_ERRORS as error:
            raise NeedsTransaction from error
        except BaseException as error:
            if not isinstance(error, Exception):  # cancelled, and so is the statement
                connection.invalidate()
            raise
        finally:
            connection.close()
