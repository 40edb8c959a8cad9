"""For several stores and several instances: upload ids and the table of instances."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Boolean, Column, String, false, text

from imaged.catalogs.column_types import Instant

revision = "0002"
down_revision = "0001"

TEXT = String().with_variant(String(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what older versions can do without."""
    for column in (
        Column("upload_id", TEXT),
        Column("is_unfinished", Boolean, nullable=False, server_default=false()),
        Column("is_swept", Boolean, nullable=False, server_default=false()),
    ):
        op.add_column("blobs", column)
    if op.get_context().dialect.name == "postgresql":  # sorts null last by default
        op.drop_index("images_name", "images")
        op.create_index("images_name", "images", [text("name NULLS FIRST"), "id"])
    op.create_index("blobs_stock", "blobs", ["store", "state", "size_bytes", "failures"])
    op.create_table(
        "instances",
        Column("id", TEXT, primary_key=True),
        Column("version", TEXT, nullable=False),
        Column("roles", JSON, nullable=False),
        Column("started_at", Instant, nullable=False),
        Column("seen_at", Instant, nullable=False),
    )
    op.create_table("compatibility", Column("oldest", TEXT, primary_key=True))
    op.execute(text("INSERT INTO compatibility VALUES ('0001')"))
