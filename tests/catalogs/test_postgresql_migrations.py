"""Creating and migrating the tables of a PostgreSQL catalog that is in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contracts.catalog_databases import behind_lock, opened, other_transaction, schema_of
from contracts.catalog_releases import NEXT, Releases
from contracts.catalog_samples import all_images, queued
from contracts.catalog_step_kinds import StepKindsContract
from imaged.catalogs import dialects, migrations
from imaged.catalogs.connect import migrate_catalog
from imaged.catalogs.dialects import metadata
from imaged.catalogs.migrations import Migration
from imaged.catalogs.postgresql.driver import PostgresqlDatabase
from imaged.core.errors import CatalogError
from support.postgresql import empty_database

pytestmark = pytest.mark.asyncio

LATEST = migrations.STEPS[-1].revision


@pytest_asyncio.fixture
async def empty() -> AsyncIterator[str]:
    """A database without tables."""
    async with empty_database() as url:
        yield url


class TestHalves(StepKindsContract):
    """Steps that expand, and steps that contract."""


async def test_migrations_make_the_tables(url: str, empty: str) -> None:
    """The steps lead to exactly the tables that the statements are written for."""
    database = PostgresqlDatabase(empty)
    await database.write(metadata.create_all)
    await database.close()

    assert await schema_of(url) == await schema_of(empty)


async def test_upgrading_twice(empty: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It reports the revision, prints nothing, and does nothing the second time."""
    assert await migrate_catalog(empty) == Migration(None, LATEST, 0)
    assert await migrate_catalog(empty) == Migration(LATEST, LATEST, 0)
    assert capfd.readouterr() == ("", "")


async def test_several_migrate_at_once(empty: str) -> None:
    """One does it, the others wait and find it done."""
    done = await asyncio.gather(*[migrate_catalog(empty) for _ in range(4)])

    assert sorted(str(one.before) for one in done) == [LATEST, LATEST, LATEST, "None"]


async def test_migrations_wait_for_each_other(empty: str) -> None:
    """Its lock is waited for without a time limit."""
    locks = f"SELECT pg_advisory_xact_lock({dialects.SCHEMA_LOCK_ID})"

    assert await behind_lock(empty, locks, migrate_catalog(empty)) == Migration(None, LATEST, 0)


async def test_a_table_locked_by_another_session(
    url: str, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is short, because all other statements wait behind it; nothing was done."""
    expand, _ = releases.become(NEXT)
    monkeypatch.setattr(dialects, "SCHEMA_LOCK_TIMEOUT", "100ms")
    before = await schema_of(url)
    async with other_transaction(url) as other:
        await other.execute("SELECT FROM tombstones")
        with pytest.raises(CatalogError, match="is busy: a lock was not released in time"):
            await migrate_catalog(url)

    assert await schema_of(url) == before
    assert (await migrate_catalog(url)).now == expand


async def test_instances_work_on(url: str, releases: Releases) -> None:
    """Current instances do not notice the expanding step of the next version."""
    async with opened(url) as catalog:
        await catalog.add_image(queued("i"))
        await all_images(catalog)
        releases.become(NEXT)
        await migrate_catalog(url)

        await catalog.add_image(queued("j"))
        assert len(await all_images(catalog)) == 2
