"""Adds the report of an instance. Versions before it go on working: they send none."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, text

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column."""
    report = Column("report", JSON, nullable=False, server_default=text("'{}'"))
    op.add_column("instances", report)
