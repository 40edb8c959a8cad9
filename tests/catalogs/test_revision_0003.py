"""Databases of revision 0003 pass the contract of catalogs that are upgraded with their data."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from contracts import catalog_databases, catalog_files
from contracts.catalog_revision_0003 import DUMPS, Opened, Revision0003Contract
from imaged.catalogs.connect import migrate_catalog
from imaged.catalogs.sql_catalog import SqlCatalog
from support.postgresql import empty_database, execute, fresh_database

pytestmark = pytest.mark.asyncio


class TestSqliteOfRevision0003(Revision0003Contract):
    """A file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Its path."""
        path = tmp_path / "catalog.db"
        with catalog_files.raw(path) as db:
            db.executescript((DUMPS / "revision_0003.sqlite.sql").read_text("utf-8"))
        return path

    @pytest.fixture
    def old(self, path: Path) -> str:
        """Its URL."""
        return f"sqlite:///{path}"

    @pytest_asyncio.fixture
    async def migrated(self, old: str, path: Path) -> Opened:
        """Opens it."""
        await migrate_catalog(old)

        def open_it() -> AbstractAsyncContextManager[SqlCatalog]:
            return catalog_files.opened(path)

        return open_it

    async def test_it_has_the_tables_of_a_new_catalog(
        self, old: str, path: Path, tmp_path: Path
    ) -> None:
        """Nothing is missing, and nothing is left over."""
        await migrate_catalog(old)
        await migrate_catalog(f"sqlite:///{tmp_path / 'new.db'}")

        assert catalog_files.schema_of(path) == catalog_files.schema_of(tmp_path / "new.db")


class TestPostgresqlOfRevision0003(Revision0003Contract):
    """A database."""

    @pytest_asyncio.fixture
    async def old(self) -> AsyncIterator[str]:
        """Its URL."""
        async with empty_database() as url:
            await execute(url, (DUMPS / "revision_0003.postgresql.sql").read_text("utf-8"))
            yield url

    @pytest_asyncio.fixture
    async def migrated(self, old: str) -> Opened:
        """Opens it."""
        await migrate_catalog(old)

        def open_it() -> AbstractAsyncContextManager[SqlCatalog]:
            return catalog_databases.opened(old)

        return open_it

    async def test_it_has_the_tables_of_a_new_catalog(self, old: str) -> None:
        """Nothing is missing, and nothing is left over."""
        await migrate_catalog(old)
        async with fresh_database() as new:
            assert await _schema_without_casts(old) == await _schema_without_casts(new)


async def _schema_without_casts(url: str) -> set[str]:
    """A check that was dumped and restored has its casts, and their brackets, at other places."""
    casts = re.compile(r"::character varying|::text(\[\])?|[()]")
    return {casts.sub("", line) for line in await catalog_databases.schema_of(url)}
