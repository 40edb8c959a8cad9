"""For operators: the current problems of each instance."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add what older versions can do without."""
    troubles = Column("troubles", JSON, nullable=False, server_default=text("'[]'"))
    op.add_column("instances", troubles)
