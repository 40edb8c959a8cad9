"""The catalog in a PostgreSQL database passes the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio
from hypothesis import settings

from contracts import catalog_databases
from contracts.catalog import CatalogContract
from contracts.catalog_errors import ErrorsContract
from contracts.catalog_history import DamagedHistoryContract
from contracts.catalog_lists import Fresh
from contracts.catalog_quotas import LimitsToReadContract
from contracts.catalog_state_machine import CatalogMachine, machine_settings
from imaged.ports.catalog import Catalog


class TestPostgresqlCatalog(
    CatalogContract, ErrorsContract, DamagedHistoryContract, LimitsToReadContract
):
    """The whole contract."""

    @pytest.fixture
    def fresh(self) -> Fresh:
        """A database for each example."""
        return catalog_databases.fresh

    @pytest_asyncio.fixture
    async def catalog(self, fresh: Fresh) -> AsyncIterator[Catalog]:
        """Empty, and audited at the end."""
        async with fresh() as catalog:
            yield catalog


class PostgresqlCatalogMachine(CatalogMachine):
    """Any order of operations."""

    def make(self) -> AbstractAsyncContextManager[Catalog]:
        """A fresh database."""
        return catalog_databases.fresh()


TestPostgresqlCatalogMachine = PostgresqlCatalogMachine.TestCase
TestPostgresqlCatalogMachine.settings = settings(machine_settings, max_examples=8)
