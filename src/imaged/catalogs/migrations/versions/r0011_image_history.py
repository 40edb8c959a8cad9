"""Adds the history of images. Versions before it go on working: they write none."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, ForeignKey

from imaged.catalogs.migrations.from_0003 import INSTANT, TEXT

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "image_history",
        Column("image_id", TEXT, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("at", INSTANT, nullable=False),
        Column("action", TEXT, nullable=False),
        Column("user_id", TEXT),
        Column("project_id", TEXT),
        Column("peer", TEXT),
        Column("request_id", TEXT),
        Column("details", JSON, nullable=False),
        sqlite_with_rowid=False,
    )
