"""For markers: the id of this catalog, and the places that belong to it."""

from __future__ import annotations

from uuid import uuid4

from alembic import op
from sqlalchemy import Boolean, Column, String, Uuid

revision = "0009"
down_revision = "0008"

TEXT = String().with_variant(String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what older versions do not read."""
    identity = op.create_table("catalog_identity", Column("id", Uuid, primary_key=True))
    op.bulk_insert(identity, [{"id": uuid4()}])
    op.create_table(
        "places",
        Column("kind", TEXT, primary_key=True),
        Column("name", TEXT, primary_key=True),
        Column("place_id", Uuid, nullable=False),
        Column("location", TEXT, nullable=False),
        Column("is_marked", Boolean, nullable=False),
        Column("warning", TEXT),
    )
