"""The catalog in memory passes the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from contracts.catalog import CatalogContract
from contracts.catalog_clock import SetAhead
from contracts.catalog_lists import Fresh
from imaged.ports.catalog import Catalog
from imaged.testing.memory_catalog import MemoryCatalog
from support.service import UtcClock


class ClockAhead(UtcClock):
    """A clock that was set ahead."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        """The present time plus the difference."""
        return super().now() + self._by


@asynccontextmanager
async def opened() -> AsyncIterator[Catalog]:
    """A fresh catalog."""
    yield MemoryCatalog(UtcClock())


class TestMemoryCatalog(CatalogContract):
    """The whole contract."""

    @pytest.fixture
    def catalog(self) -> MemoryCatalog:
        """Empty."""
        return MemoryCatalog(UtcClock())

    @pytest.fixture
    def set_ahead(self, catalog: MemoryCatalog) -> SetAhead:
        """By another clock."""

        def set_ahead(by: timedelta) -> None:
            catalog._clock = ClockAhead(by)

        return set_ahead

    @pytest.fixture
    def fresh(self) -> Fresh:
        """Empty, for each example."""
        return opened
