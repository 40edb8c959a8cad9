"""The catalog in memory sits the exam."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contracts.catalog import CatalogContract
from contracts.catalog_lists import Fresh
from contracts.catalog_machine import UtcClock
from imaged.catalogs.memory import MemoryCatalog
from imaged.ports.catalog import Catalog


@asynccontextmanager
async def opened() -> AsyncIterator[Catalog]:
    """A fresh catalog."""
    yield MemoryCatalog(UtcClock())


class TestMemoryCatalog(CatalogContract):
    """Everything."""

    @pytest.fixture
    def catalog(self) -> MemoryCatalog:
        """Empty."""
        return MemoryCatalog(UtcClock())

    @pytest.fixture
    def fresh(self) -> Fresh:
        """Empty, for each example."""
        return opened
