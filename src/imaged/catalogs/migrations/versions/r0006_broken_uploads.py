"""For uploads that broke off: what had arrived, so that the rest is never taken for the whole."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, String, text

from imaged.catalogs.column_types import Instant

revision = "0006"
down_revision = "0005"

TEXT = String().with_variant(String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what older versions can do without."""
    for column in (
        Column("broken_announced_bytes", BigInteger),
        Column("broken_received_bytes", BigInteger),
        Column("broken_checksum", TEXT),
        Column("broken_at", Instant),
        Column("broken_refused_bytes", BigInteger),
    ):
        op.add_column("images", column)
    only = text("broken_at IS NOT NULL")
    op.create_index(
        "images_broken", "images", ["broken_at", "id"], sqlite_where=only, postgresql_where=only
    )
