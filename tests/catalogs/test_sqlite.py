"""The catalog in a SQLite file passes the contract."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from contracts import catalog_samples as samples
from contracts.catalog import CatalogContract
from contracts.catalog_errors import ErrorsContract
from contracts.catalog_files import opened
from contracts.catalog_history import DamagedHistoryContract, actions_of, spoil
from contracts.catalog_lists import Fresh
from contracts.catalog_quotas import LimitsToReadContract
from contracts.catalog_state_machine import CatalogMachine, machine_settings
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.sqlite.catalog_file import migrate_once
from imaged.ports.catalog import Catalog


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file with empty tables, to be copied."""
    path = tmp_path_factory.mktemp("catalog") / "template.db"
    migrate_once(path)
    return path


class TestSqliteCatalog(
    CatalogContract, ErrorsContract, DamagedHistoryContract, LimitsToReadContract
):
    """The whole contract."""

    @pytest.fixture
    def fresh(self, template: Path, tmp_path: Path) -> Fresh:
        """A copy of the template, for each example."""
        numbers = count()

        @asynccontextmanager
        async def copied() -> AsyncIterator[Catalog]:
            path = Path(shutil.copy(template, tmp_path / f"{next(numbers)}.db"))
            async with opened(path) as catalog:
                yield catalog

        return copied

    @pytest_asyncio.fixture
    async def catalog(self, fresh: Fresh) -> AsyncIterator[Catalog]:
        """Empty, and audited at the end."""
        async with fresh() as catalog:
            yield catalog

    async def test_a_damaged_number_in_the_history_prevents_no_change(
        self, catalog: Catalog
    ) -> None:
        """The entry of the change takes its place: pages have no checksums."""
        assert isinstance(catalog, SqlCatalog)
        await samples.add_active(catalog, "i")
        await catalog.database.write(partial(spoil, image_id="i", damage="number = 3"))

        await catalog.modify_image("i", samples.tag("changed"))

        assert await actions_of(catalog, "i") == ["created", "uploaded", "changed"]


class SqliteCatalogMachine(CatalogMachine):
    """Any order of operations."""

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Catalog]:
        """A fresh file."""
        with TemporaryDirectory() as folder:
            async with opened(Path(folder) / "catalog.db") as catalog:
                yield catalog


TestSqliteCatalogMachine = SqliteCatalogMachine.TestCase
TestSqliteCatalogMachine.settings = machine_settings
