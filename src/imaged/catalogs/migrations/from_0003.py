"""Brings a catalog of revision 0003, which an earlier commit made, to the first revision, 0009.

The revisions between, and those before, were never published. See docs/decisions/0037.
"""

from __future__ import annotations

from uuid import uuid4

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import JSON, BigInteger, Column, Connection, Uuid, text

from imaged.catalogs.migrations.versions.r0009_first import (
    INSTANT,
    TEXT,
    block_checksum_columns,
    clock_columns,
    place_columns,
)


def upgrade(db: Connection) -> None:
    """Add columns and tables; remove the table ``tasks``, which was never filled.

    Versions of revision 0003 go on working: they use none of it.
    """
    op = Operations(MigrationContext.configure(db))
    _extend_images(op)
    _extend_installation(op)
    op.create_table("block_checksums", *block_checksum_columns())
    op.drop_table("tasks")
    op.execute(text("UPDATE compatibility SET oldest = '0003'"))
    op.execute(text("UPDATE alembic_version SET version_num = '0009'"))


def _extend_images(op: Operations) -> None:
    for column in (
        Column("notice", TEXT),
        Column("staged_content", JSON),
        Column("broken_announced_bytes", BigInteger),
        Column("broken_received_bytes", BigInteger),
        Column("broken_checksum", TEXT),
        Column("broken_at", INSTANT),
        Column("broken_refused_bytes", BigInteger),
    ):
        op.add_column("images", column)
    only = text("broken_at IS NOT NULL")
    op.create_index(
        "images_broken", "images", ["broken_at", "id"], sqlite_where=only, postgresql_where=only
    )


def _extend_installation(op: Operations) -> None:
    troubles = Column("troubles", JSON, nullable=False, server_default=text("'[]'"))
    op.add_column("instances", troubles)
    op.create_table("clock", *clock_columns())
    identity = op.create_table("catalog_identity", Column("id", Uuid, primary_key=True))
    op.bulk_insert(identity, [{"id": uuid4()}])
    op.create_table("places", *place_columns())
