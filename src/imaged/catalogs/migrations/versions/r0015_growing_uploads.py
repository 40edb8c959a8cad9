"""Adds to each claim what it has reserved ahead of a body of unknown length.

Versions before it go on working: others wait for none of their uploads.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, CheckConstraint, Column

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column."""
    check = CheckConstraint("ahead_bytes IS NULL OR ahead_bytes >= 0", name="ahead_bytes_possible")
    op.add_column("claims", Column("ahead_bytes", BigInteger, check))
