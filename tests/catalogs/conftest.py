"""Catalogs in a file, or in a database of PostgreSQL; a module may have a fixture of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.catalog_databases import opened
from contracts.catalog_releases import Releases
from imaged.catalogs.sql_catalog import SqlCatalog
from support.postgresql import Server, fresh_database, started


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the catalog's file."""
    return tmp_path / "catalog.db"


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    """A database with empty tables."""
    async with fresh_database() as url:
        yield url


@pytest_asyncio.fixture
async def catalog(url: str) -> AsyncIterator[SqlCatalog]:
    """Empty, and audited at the end."""
    async with opened(url) as catalog:
        yield catalog


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """The current one, until a test changes it."""
    folder = tmp_path / "versions"
    folder.mkdir()
    return Releases(folder, monkeypatch)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that tests may damage, or make require passwords."""
    with started() as server:
        yield server
