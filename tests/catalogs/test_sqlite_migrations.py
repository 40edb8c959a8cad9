"""Creating and migrating the tables of a SQLite catalog."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from contracts.catalog_files import opened, raw, schema_of
from contracts.catalog_samples import queued
from contracts.catalog_step_kinds import StepKindsContract
from imaged.catalogs import image_dates, migrations
from imaged.catalogs.connect import inspect_catalog, migrate_catalog, open_catalog
from imaged.catalogs.dialects import metadata
from imaged.catalogs.migrations import Migration
from imaged.catalogs.sqlite import catalog_file
from imaged.catalogs.sqlite.catalog_file import open_sqlite
from imaged.catalogs.sqlite.driver import SqliteDatabase
from imaged.core.errors import CatalogError, CatalogTooNew, CatalogTooOld
from imaged.core.limits import MIB
from imaged.core.query import ImageQuery

pytestmark = pytest.mark.asyncio

LATEST = migrations.STEPS[-1].revision


class TestHalves(StepKindsContract):
    """Steps that expand, and steps that contract."""

    @pytest_asyncio.fixture
    async def url(self, path: Path) -> str:
        """A current catalog."""
        await migrate_catalog(f"sqlite:///{path}")
        return f"sqlite:///{path}"


async def test_migrations_make_the_tables(path: Path, tmp_path: Path) -> None:
    """The steps lead to exactly the tables that the statements are written for."""
    await migrate_catalog(f"sqlite:///{path}")
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    metadata.create_all(engine)
    engine.dispose()

    assert schema_of(path) == schema_of(tmp_path / "other.db")


async def test_every_revision_is_known() -> None:
    """The list of revisions equals the modules."""
    config = Config()
    config.set_main_option("script_location", "imaged.catalogs:migrations")
    config.set_main_option("path_separator", "os")
    history = ScriptDirectory.from_config(config).walk_revisions()

    assert [step.revision for step in history][::-1] == [s.revision for s in migrations.STEPS]


async def test_upgrading_twice(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It reports the revision, prints nothing, and does nothing the second time."""
    url = f"sqlite:///{path}"

    assert await migrate_catalog(url) == Migration(None, LATEST, 0)
    assert await migrate_catalog(url) == Migration(LATEST, LATEST, 0)
    assert capfd.readouterr() == ("", "")


async def test_opening_needs_no_alembic(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current catalog opens without importing Alembic."""
    await migrate_catalog(f"sqlite:///{path}")
    monkeypatch.setitem(sys.modules, "alembic", None)

    async with opened(path) as catalog:
        await catalog.check()


async def test_a_catalog_of_a_newer_version(path: Path) -> None:
    """It is refused with its revision, and left unchanged."""
    async with opened(path) as catalog:
        await catalog.add_image(queued("i"))
    with raw(path) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.execute("UPDATE compatibility SET oldest = '9998'")
    before = schema_of(path)

    with pytest.raises(CatalogTooNew, match="9999"):
        await open_sqlite(path)
    with pytest.raises(CatalogTooNew, match="9999"):
        await migrate_catalog(f"sqlite:///{path}")
    assert schema_of(path) == before


async def test_a_catalog_of_the_first_revision(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets all later steps, and opens with a table that is made no longer."""
    with monkeypatch.context() as only:
        only.setattr(migrations, "STEPS", migrations.STEPS[:1])
        await migrate_catalog(f"sqlite:///{path}")
    with raw(path) as db:
        db.execute("CREATE TABLE tasks (image_id VARCHAR REFERENCES images (id) ON DELETE CASCADE)")
        db.execute("UPDATE compatibility SET oldest = '0001'")

    assert await migrate_catalog(f"sqlite:///{path}") == Migration("0009", LATEST, 0)
    async with opened(path) as catalog:
        await catalog.add_image(queued("i"))


@pytest.mark.parametrize("revision", ["0001", "0004", "0008"])
async def test_a_catalog_of_a_revision_that_was_never_published(path: Path, revision: str) -> None:
    """It is refused with the remedy, and left unchanged."""
    await migrate_catalog(f"sqlite:///{path}")
    with raw(path) as db:
        db.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    before = schema_of(path)

    for attempt in (migrate_catalog, open_catalog, inspect_catalog):
        with pytest.raises(CatalogError, match=f"{revision}, .* earlier version of imaged first"):
            await attempt(f"sqlite:///{path}")
    assert schema_of(path) == before


async def test_a_catalog_that_has_to_be_migrated(path: Path) -> None:
    """If it is not migrated automatically, the error names the command."""
    database = SqliteDatabase(path)
    with pytest.raises(CatalogTooOld, match="imaged migrate"):
        await database.read(migrations.require_current)
    await database.write(migrations.apply_steps)
    await database.read(migrations.require_current)
    await database.close()


async def test_a_step_that_fails_leaves_nothing(path: Path) -> None:
    """All steps are applied, or none: the tables of a failed step are gone."""
    database = SqliteDatabase(path)

    def break_down(db: Connection) -> None:
        migrations.apply_steps(db)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(break_down)
    await database.close()
    assert schema_of(path) == set()
    assert (await migrate_catalog(f"sqlite:///{path}")).before is None


async def test_rows_that_were_there_are_dated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In transactions of their own; a migration that was interrupted there goes on."""
    with monkeypatch.context() as only:
        only.setattr(migrations, "STEPS", migrations.STEPS[:7])
        await migrate_catalog(f"sqlite:///{path}")
    with raw(path) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        for name in "abc":
            db.execute(
                "INSERT INTO images (id, owner, visibility, protected, hidden, min_ram_mib,"
                " min_disk_gib, tags, properties, status, version, since, created_at, updated_at)"
                " VALUES (?, 'a', 'private', 0, 0, 0, 0, '[]', '{}', 'queued', 1, ?, ?, ?)",
                (name, ord(name), ord(name), ord(name)),
            )
            db.execute("INSERT INTO image_tags VALUES (?, 't')", (name,))
    monkeypatch.setattr(image_dates, "FILLED_AT_ONCE", 1)
    calls: list[str] = []

    def fill_until_b(db: Connection, table: str, after: str) -> str | None:
        calls.append(after)
        if after == "b":
            raise CatalogError("interrupted")
        return image_dates.fill_some(db, table, after)

    with monkeypatch.context() as broken:
        broken.setattr(catalog_file, "fill_some", fill_until_b)
        with pytest.raises(CatalogError, match="interrupted"):
            await migrate_catalog(f"sqlite:///{path}")
    dated = "SELECT image_id, image_created_at FROM image_tags ORDER BY 1"
    with raw(path) as db:
        assert db.execute(dated).fetchall() == [("a", 97), ("b", 98), ("c", None)]

    assert await migrate_catalog(f"sqlite:///{path}") == Migration("0016", LATEST, 0)
    with raw(path) as db:
        assert db.execute(dated).fetchall() == [("a", 97), ("b", 98), ("c", 99)]
    async with opened(path) as catalog:
        found = await catalog.list_page(ImageQuery(tags=("t",)), MIB)
        assert [image.id for image in found.images] == ["c", "b", "a"]
