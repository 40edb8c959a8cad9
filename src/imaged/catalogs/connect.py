"""Opens, migrates and inspects the catalog of a URL: ``sqlite:///…`` or ``postgresql://…``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from imaged.catalogs.migrations import Migration
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogTooOld

SCHEMES = ("postgresql", "postgres")


async def open_catalog(
    url: str, password_file: Path | None = None, processes: int = 1, *, is_child: bool = False
) -> SqlCatalog:
    """Open the catalog. A SQLite file is created and migrated if necessary, a PostgreSQL database
    is not. ``processes``: so many of one instance open it, and share its connections.
    ``is_child``: a daemon that runs has opened it already.

    Raises CatalogError, CatalogTooOld, CatalogTooNew.
    """
    if is_postgresql(url):
        from imaged.catalogs.postgresql.driver import open_postgresql

        return await open_postgresql(url, password_file, processes)
    from imaged.catalogs.sqlite.catalog_file import open_migrated_sqlite, open_sqlite

    return await (open_migrated_sqlite(url) if is_child else open_sqlite(url))


def is_missing(url: str) -> bool:
    """Whether opening it would create it: a SQLite file that is missing or has no table.

    Raises CatalogError for a URL that names no file.
    """
    if is_postgresql(url):
        return False
    from imaged.catalogs.sqlite.catalog_file import has_tables, path_of

    return not has_tables(path_of(url))


async def is_new(url: str, password_file: Path | None = None) -> bool:
    """Whether migrating it would create it: the file is missing, or the database has no table.

    Raises CatalogError.
    """
    if not is_postgresql(url):
        return is_missing(url)
    from imaged.catalogs.postgresql.driver import has_tables

    return not await has_tables(url, password_file)


async def migrate_catalog(
    url: str, password_file: Path | None = None, *, contract: bool = False
) -> Migration:
    """Apply the missing steps. Raises CatalogError, CatalogTooNew."""
    if is_postgresql(url):
        from imaged.catalogs.postgresql.migrate import migrate_postgresql

        return await migrate_postgresql(url, password_file, contract=contract)
    from imaged.catalogs.sqlite.catalog_file import migrate_sqlite, path_of

    return await migrate_sqlite(path_of(url), contract=contract)


@asynccontextmanager
async def open_if_current(
    url: str, password_file: Path | None = None
) -> AsyncIterator[SqlCatalog | None]:
    """The catalog as it is; None if it would have to be created or migrated.

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
        from imaged.catalogs.sqlite.catalog_file import open_sqlite_if_current

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
    """Check that it can be opened, without creating or changing anything.

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
        from imaged.catalogs.sqlite.catalog_file import inspect_sqlite, path_of

        await inspect_sqlite(path_of(url))


def is_postgresql(url: str) -> bool:
    """Whether the URL names a database on a PostgreSQL server."""
    return urlsplit(url).scheme in SCHEMES


def without_password(url: str) -> str:
    """The URL without its password, for logs."""
    parts = urlsplit(url)
    if not is_postgresql(url):
        return url
    credentials, at, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{parts.scheme}://{user}{at}{host}{parts.path}"
