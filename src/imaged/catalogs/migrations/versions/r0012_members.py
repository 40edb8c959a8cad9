"""Adds the members of images. Versions before it go on working: they share with no project."""

from __future__ import annotations

from alembic import op
from sqlalchemy import CheckConstraint, Column, ForeignKey

from imaged.catalogs.migrations.from_0003 import INSTANT, TEXT

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "image_members",
        Column("image_id", TEXT, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
        Column("member_id", TEXT, primary_key=True),
        Column("status", TEXT, nullable=False),
        Column("created_at", INSTANT, nullable=False),
        Column("updated_at", INSTANT, nullable=False),
        CheckConstraint(
            "status IN ('pending', 'accepted', 'rejected')", name="member_status_known"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("image_members_member", "image_members", ["member_id", "status", "image_id"])
