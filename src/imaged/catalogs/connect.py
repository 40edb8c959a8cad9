"""Which catalog a URL means: ``sqlite:///…`` or ``postgresql://…``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from imaged.catalogs.migrations import Migration
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogTooOld

SCHEMES = ("postgresql", "postgres")


async def open_catalog(url: str, password_file: Path | None = None) -> SqlCatalog:
    """Open it. A SQLite file is made and migrated where that is needed, PostgreSQL's are not.

    Raises CatalogError, CatalogTooOld, CatalogTooNew.
    """
    if is_postgresql(url):
        from imaged.catalogs.postgresql.driver import open_postgresql

        return await open_postgresql(url, password_file)
    from imaged.catalogs.sqlite.driver import open_sqlite

    return await open_sqlite(url)


def is_missing(url: str) -> bool:
    """Whether to open it would make it: a file of SQLite that is not there, or has no table.

    Raises CatalogError for a URL that names no file.
    """
    if is_postgresql(url):
        return False
    from imaged.catalogs.sqlite.driver import has_tables, path_of

    return not has_tables(path_of(url))


async def is_new(url: str, password_file: Path | None = None) -> bool:
    """Whether to migrate it would make it: it is missing, or a database without any table.

    Raises CatalogError.
    """
    if not is_postgresql(url):
        return is_missing(url)
    from imaged.catalogs.postgresql.driver import has_tables

    return not await has_tables(url, password_file)


async def migrate_catalog(
    url: str, password_file: Path | None = None, *, contract: bool = False
) -> Migration:
    """Take the steps that are missing. Raises CatalogError, CatalogTooNew."""
    if is_postgresql(url):
        from imaged.catalogs.postgresql.driver import migrate_postgresql

        return await migrate_postgresql(url, password_file, contract=contract)
    from imaged.catalogs.sqlite.driver import migrate_sqlite, path_of

    return await migrate_sqlite(path_of(url), contract=contract)


@asynccontextmanager
async def open_if_current(
    url: str, password_file: Path | None = None
) -> AsyncIterator[SqlCatalog | None]:
    """The catalog as it is; None where it would have to be made or migrated.

    Raises CatalogError.
    """
    if is_postgresql(url):
        from imaged.catalogs.postgresql.driver import open_postgresql

        try:
            catalog = await open_postgresql(url, password_file)
        except CatalogTooOld:
            yield None
            return
    else:
        from imaged.catalogs.sqlite.driver import open_sqlite_if_current

        found = None if is_missing(url) else await open_sqlite_if_current(url)
        if found is None:
            yield None
            return
        catalog = found
    try:
        yield catalog
    finally:
        await catalog.close()


async def inspect_catalog(url: str, password_file: Path | None = None) -> None:
    """See whether it can be opened; nothing is made or changed.

    Raises CatalogError, CatalogTooOld, CatalogTooNew.
    """
    if is_postgresql(url):
        catalog = await open_catalog(url, password_file)
        try:
            await catalog.check()
            await catalog.database.check_writable()
        finally:
            await catalog.close()
    else:
        from imaged.catalogs.sqlite.driver import inspect_sqlite, path_of

        await inspect_sqlite(path_of(url))


def is_postgresql(url: str) -> bool:
    """Whether the URL means a database on a PostgreSQL server."""
    return urlsplit(url).scheme in SCHEMES


def without_password(url: str) -> str:
    """The URL without a password, for logs."""
    parts = urlsplit(url)
    if not is_postgresql(url):
        return url
    credentials, at, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{parts.scheme}://{user}{at}{host}{parts.path}"
