"""For verified reads: checksums of the blocks of blobs, and digests of staged bytes."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, ForeignKey, Integer, LargeBinary, String

revision = "0004"
down_revision = "0003"

TEXT = String().with_variant(String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what older versions can do without."""
    op.add_column("images", Column("staged_content", JSON(none_as_null=True)))
    op.create_table(
        "block_checksums",
        Column("key", TEXT, ForeignKey("blobs.key", ondelete="CASCADE"), primary_key=True),
        Column("page", Integer, primary_key=True),
        Column("checksums", LargeBinary, nullable=False),
    )
