"""Run by Alembic: applies the missing steps on the given connection."""

from __future__ import annotations

from alembic import context

from imaged.catalogs.dialects import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
)
context.run_migrations()
