"""A whole catalog moves from SQLite to PostgreSQL, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, select

from contracts import catalog_files
from contracts.catalog_revision_0003 import DUMPS
from imaged.catalogs import move
from imaged.catalogs.connect import is_new, migrate_catalog, open_catalog
from imaged.catalogs.dialects import metadata
from imaged.catalogs.move import NOT_COPIED, copy_to_other_kind
from imaged.core.claim import InstanceId
from imaged.core.errors import CatalogError, CatalogExists, CatalogInUse
from imaged.core.image import Image
from imaged.core.member import Member
from imaged.core.summary import Instance
from support.postgresql import empty_database

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def source(path: Path) -> str:
    """A file with rows of every kind."""
    with catalog_files.raw(path) as db:
        db.executescript((DUMPS / "revision_0003.sqlite.sql").read_text("utf-8"))
    await migrate_catalog(url := f"sqlite:///{path}")
    catalog = await open_catalog(url)
    await catalog.add_image(Image(id="shared", owner="web", members={"shop": Member("shop")}))
    await catalog.close()
    return url


@pytest_asyncio.fixture
async def target() -> AsyncIterator[str]:
    """A database without tables."""
    async with empty_database() as url:
        yield url


def read_rows(db: Connection) -> Mapping[str, Sequence[Any]]:
    """All rows that are copied, by table."""
    return {
        table.name: sorted(map(tuple, db.execute(select(table))), key=repr)
        for table in metadata.sorted_tables
        if table.name not in NOT_COPIED
    }


async def rows_of(url: str) -> Mapping[str, Sequence[Any]]:
    """The same, by the URL of the catalog."""
    catalog = await open_catalog(url)
    try:
        return await catalog.database.read(read_rows)
    finally:
        await catalog.close()


async def test_a_catalog_moves_there_and_back(
    source: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is the same in both, and the catalog has its id, in batches of any size."""
    monkeypatch.setattr(move, "BATCH_ROWS", 3)
    before = await rows_of(source)

    there = await copy_to_other_kind(source, target, None)
    back = await copy_to_other_kind(target, f"sqlite:///{tmp_path / 'back.db'}", None)

    assert len(before["images"]) > 9
    assert [row[:2] for row in before["image_members"]] == [("shared", "shop")]
    assert await rows_of(target) == before == await rows_of(f"sqlite:///{tmp_path / 'back.db'}")
    assert there == back
    assert there.rows == {name: len(rows) for name, rows in before.items()}


@pytest.mark.parametrize("damage", ["properties = 'nonsense'", "created_at = 'noon'"])
async def test_a_damaged_row_is_named(source: str, target: str, path: Path, damage: str) -> None:
    """The database is not blamed for it, and stays empty."""
    with catalog_files.raw(path) as db:
        db.execute(f"UPDATE images SET {damage}")  # noqa: S608 - of this table

    with pytest.raises(CatalogError, match="a damaged row in images: ") as refused:
        await copy_to_other_kind(source, target, None)

    assert "restore a backup" in str(refused.value)
    assert await is_new(target)


async def test_a_target_has_to_be_empty(source: str, target: str) -> None:
    """A catalog there is not touched; and the kinds have to differ."""
    await migrate_catalog(target)

    with pytest.raises(CatalogExists, match="empty database"):
        await copy_to_other_kind(source, target, None)
    with pytest.raises(CatalogError, match="same kind"):
        await copy_to_other_kind(target, target, None)


@pytest.mark.parametrize("is_back", [False, True])
async def test_a_catalog_in_use_is_not_moved(source: str, target: str, is_back: bool) -> None:
    """Its instances would write to the old one; nothing is made in the new one."""
    here, there = (target, f"{source}.new") if is_back else (source, target)
    await migrate_catalog(here)
    catalog = await open_catalog(here)
    instance = Instance(InstanceId("east"), "0.1.0", ("api",))
    await catalog.register_instance(instance, timedelta(hours=1))
    await catalog.close()

    with pytest.raises(CatalogInUse, match="east"):
        await copy_to_other_kind(here, there, None)
    assert await is_new(there)


async def test_all_or_nothing_is_moved(
    source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure in the middle leaves an empty database; so does a count that differs."""
    monkeypatch.setattr(move, "_batches", lambda *_: [])

    with pytest.raises(CatalogError, match="were copied"):
        await copy_to_other_kind(source, target, None)
    assert await is_new(target)


async def test_a_source_has_to_be_there(target: str, path: Path) -> None:
    """A missing file is not made."""
    with pytest.raises(CatalogError, match="There is no catalog"):
        await copy_to_other_kind(f"sqlite:///{path}", target, None)
    assert await is_new(f"sqlite:///{path}")
