"""Brings a catalog of revision 0003, which an earlier commit made, to the first revision, 0009.

The revisions between, and those before, were never published. See docs/decisions/0037. The tables
that it adds are defined here for the first revision too; like that, they never change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Uuid,
    text,
)

TEXT = String().with_variant(String(collation="C"), "postgresql")
INSTANT = BigInteger().with_variant(DateTime(timezone=True), "postgresql")
DURATION = BigInteger()


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


def block_checksum_columns() -> Sequence[Column[Any]]:
    """The columns of ``block_checksums``."""
    return (
        Column("key", TEXT, ForeignKey("blobs.key", ondelete="CASCADE"), primary_key=True),
        Column("page", Integer, primary_key=True),
        Column("checksums", LargeBinary, nullable=False),
    )


def clock_columns() -> Sequence[Column[Any]]:
    """The columns of ``clock``."""
    return (
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("at", INSTANT, nullable=False),
        Column("boot_id", TEXT, nullable=False),
        Column("uptime", DURATION, nullable=False),
        Column("step", DURATION, nullable=False),
        Column("held_until", DURATION),
        Column("confirmations", Integer, nullable=False),
    )


def place_columns() -> Sequence[Column[Any]]:
    """The columns of ``places``."""
    return (
        Column("kind", TEXT, primary_key=True),
        Column("name", TEXT, primary_key=True),
        Column("place_id", Uuid, nullable=False),
        Column("location", TEXT, nullable=False),
        Column("is_marked", Boolean, nullable=False),
        Column("warning", TEXT),
    )
