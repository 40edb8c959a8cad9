"""Adds the outbox of events. Versions before it go on working: their changes send none."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, Integer, Uuid, text

from imaged.catalogs.migrations.from_0003 import INSTANT, TEXT

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "outbox",
        Column("id", Uuid, primary_key=True),
        Column("queue", TEXT, nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("type", TEXT, nullable=False),
        Column("priority", TEXT, nullable=False),
        Column("subject", TEXT, nullable=False),
        Column("payload", JSON, nullable=False),
        Column("created_at", INSTANT, nullable=False),
        Column("due_at", INSTANT, nullable=False),
        Column("failures", Integer, nullable=False, server_default=text("0")),
        Column("last_error", TEXT),
    )
    op.create_index("outbox_queue", "outbox", ["queue", "number"], unique=True)
    op.create_index("outbox_due", "outbox", ["due_at", "id"])
    op.create_index("outbox_created", "outbox", ["created_at", "id"])
    only = text("failures > 0")
    op.create_index(
        "outbox_failing", "outbox", ["failures"], sqlite_where=only, postgresql_where=only
    )
