"""Creates and migrates the tables of a PostgreSQL database."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from imaged.catalogs import migrations
from imaged.catalogs.image_dates import fill_all
from imaged.catalogs.migrations import Migration
from imaged.catalogs.postgresql.driver import PostgresqlDatabase
from imaged.catalogs.postgresql.requirements import require_server


async def migrate_postgresql(
    url: str, password_file: Path | None = None, *, contract: bool = False
) -> Migration:
    """Apply the missing steps. Raises CatalogError, CatalogTooNew."""
    database = await PostgresqlDatabase.connect(url, password_file)
    try:
        await database.read(require_server)
        begun = await database.migrate(migrations.apply_until_filling)
        if await database.read(migrations.is_to_fill):
            await fill_all(database.migrate)
        ended = await database.migrate(partial(migrations.apply_steps, contract=contract))
        return replace(ended, before=begun.before)
    finally:
        await database.close()
