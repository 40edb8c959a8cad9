"""For the catalog's clock: the last trusted time."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, String

from imaged.catalogs.column_types import Duration, Instant

revision = "0007"
down_revision = "0006"

TEXT = String().with_variant(String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what older versions can do without."""
    op.create_table(
        "clock",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("at", Instant, nullable=False),
        Column("boot_id", TEXT, nullable=False),
        Column("uptime", Duration, nullable=False),
        Column("step", Duration, nullable=False),
        Column("held_until", Duration),
        Column("confirmations", Integer, nullable=False),
    )
