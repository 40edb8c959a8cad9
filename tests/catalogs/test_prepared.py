"""Statements that are compiled once: the same rows as from SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, select

from contracts.catalog_databases import opened as opened_database
from contracts.catalog_files import opened as opened_file
from contracts.catalog_samples import add_active, queued
from imaged.catalogs.prepared import AnySelect, PreparedSelect
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.tables import images
from imaged.core.image import Visibility

ALL_COLUMNS = select(images).order_by(images.c.id)
STATEMENTS: dict[str, tuple[AnySelect, dict[str, Any]]] = {
    "every column": (ALL_COLUMNS, {}),
    "a parameter": (ALL_COLUMNS.where(images.c.id == bindparam("this")), {"this": "a"}),
    "a literal": (ALL_COLUMNS.where(images.c.visibility == Visibility.SHARED), {}),
    "a list of literals": (ALL_COLUMNS.where(images.c.id.in_(["a", "b"])), {}),
    "a converted parameter": (
        ALL_COLUMNS.where(images.c.created_at <= bindparam("at", type_=images.c.created_at.type)),
        {"at": datetime(2100, 1, 1, tzinfo=UTC)},
    ),
    "a list of converted literals": (
        ALL_COLUMNS.where(images.c.created_at.not_in([datetime(2000, 1, 1, tzinfo=UTC)])),
        {},
    ),
    "a parameter twice": (
        ALL_COLUMNS.where((images.c.id == bindparam("x")) | (images.c.owner == bindparam("x"))),
        {"x": "b"},
    ),
    "a limit": (ALL_COLUMNS.limit(1), {}),
    "nothing": (ALL_COLUMNS.where(images.c.id == "missing"), {}),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", STATEMENTS)
class TestPreparedSelect:
    """Both databases."""

    async def test_sqlite(self, name: str, path: Path) -> None:
        """By its driver."""
        async with opened_file(path) as catalog:
            await check(catalog, *STATEMENTS[name])

    async def test_postgresql(self, name: str, url: str) -> None:
        """By SQLAlchemy."""
        async with opened_database(url) as catalog:
            await check(catalog, *STATEMENTS[name])


async def check(catalog: SqlCatalog, statement: AnySelect, values: dict[str, Any]) -> None:
    """Compare both ways, twice: the second time it is compiled."""
    await catalog.add_image(queued("a"))
    await add_active(catalog, "b")
    prepared = PreparedSelect(statement)

    def both(db: Connection) -> tuple[Sequence[Any], Sequence[Any]]:
        expected = [list(row) for row in db.execute(statement, values)]
        return expected, [list(row) for row in prepared.rows(db, values)]

    for _ in range(2):
        expected, found = await catalog.database.read(both)
        assert found == expected
