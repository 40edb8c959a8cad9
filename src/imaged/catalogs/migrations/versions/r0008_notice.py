"""For images: a notice to their owners about what their data looks like."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0008"
down_revision = "0007"

TEXT = String().with_variant(String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what older versions can do without."""
    op.add_column("images", Column("notice", TEXT))
