"""Which catalog a URL means: ``sqlite:///…`` or ``postgresql://…``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from imaged.catalogs.migrations import Migration
from imaged.catalogs.sql import SqlCatalog

SCHEMES = ("postgresql", "postgres")


async def open_catalog(url: str, password_file: Path | None = None) -> SqlCatalog:
    """Open it. A SQLite file is made and migrated where that is needed, PostgreSQL's are not.

    Raises CatalogError, CatalogTooOld, CatalogTooNew.
    """
    if is_postgresql(url):
        from imaged.catalogs.postgresql import open_postgresql

        return await open_postgresql(url, password_file)
    from imaged.catalogs.sqlite import open_sqlite

    return await open_sqlite(url)


async def migrate_catalog(
    url: str, password_file: Path | None = None, *, contract: bool = False
) -> Migration:
    """Take the steps that are missing. Raises CatalogError, CatalogTooNew."""
    if is_postgresql(url):
        from imaged.catalogs.postgresql import migrate_postgresql

        return await migrate_postgresql(url, password_file, contract=contract)
    from imaged.catalogs.sqlite import migrate_sqlite, path_of

    return await migrate_sqlite(path_of(url), contract=contract)


async def inspect_catalog(url: str, password_file: Path | None = None) -> None:
    """See whether it can be opened; nothing is made or changed.

    Raises CatalogError, CatalogTooOld, CatalogTooNew.
    """
    if is_postgresql(url):
        catalog = await open_catalog(url, password_file)
        try:
            await catalog.check()
            await catalog.database.try_writing()
        finally:
            await catalog.close()
    else:
        from imaged.catalogs.sqlite import inspect_sqlite, path_of

        await inspect_sqlite(path_of(url))


def is_postgresql(url: str) -> bool:
    """Whether the URL means a database on a PostgreSQL server."""
    return urlsplit(url).scheme in SCHEMES


def shown(url: str) -> str:
    """The URL without a password, for logs."""
    parts = urlsplit(url)
    if not is_postgresql(url):
        return url
    credentials, at, host = parts.netloc.rpartition("@")
    user = credentials.partition(":")[0]
    return f"{parts.scheme}://{user}{at}{host}{parts.path}"
