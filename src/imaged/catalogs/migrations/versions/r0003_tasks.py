"""For tasks of every type: their records, and images that are hidden until a task has made them.

The table ``tasks`` stays for older versions, which join it to images. It was never filled.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    String,
    Uuid,
    false,
    text,
)

from imaged.catalogs.column_types import Duration, Instant

revision = "0003"
down_revision = "0002"

TEXT = String().with_variant(String(collation="C"), "postgresql")
UNFINISHED = "expires_at IS NULL"


def upgrade() -> None:
    """Add what older versions can do without."""
    op.add_column("images", Column("draft", Boolean, nullable=False, server_default=false()))
    op.add_column("images", Column("damage", TEXT))
    damaged = text("damage IS NOT NULL")
    op.create_index(
        "images_damaged", "images", ["status"], sqlite_where=damaged, postgresql_where=damaged
    )
    op.create_table(
        "task_records",
        Column("id", TEXT, primary_key=True),
        Column("type", TEXT, nullable=False),
        Column("owner", TEXT, nullable=False),
        Column("user_id", TEXT, nullable=False),
        Column("roles", JSON, nullable=False),
        Column("request_id", TEXT),
        Column("input", JSON, nullable=False),
        Column("sealed", LargeBinary),
        Column("image_id", TEXT),
        Column("writes", TEXT),
        Column("status", TEXT, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("max_attempts", Integer, nullable=False),
        Column("phase", TEXT),
        Column("done_bytes", BigInteger),
        Column("total_bytes", BigInteger),
        Column("result", JSON),
        Column("message", TEXT),
        Column("keep_for", Duration, nullable=False),
        Column("expires_at", Instant),
        Column("created_at", Instant, nullable=False),
        Column("updated_at", Instant, nullable=False),
        Column("begun_at", Instant),
        Column("token", Uuid),
        Column("holder", TEXT),
        Column("lease", Duration),
        Column("until", Instant),
        Column("finished_by", Uuid),
        CheckConstraint(
            "status IN ('pending', 'processing', 'success', 'failure')", name="status_known"
        ),
        CheckConstraint("attempts >= 0 AND attempts <= max_attempts", name="attempts_limited"),
        CheckConstraint("(status = 'failure') = (message IS NOT NULL)", name="failure_explained"),
        CheckConstraint("(status = 'success') = (result IS NOT NULL)", name="success_answered"),
        CheckConstraint(
            "(status IN ('success', 'failure')) = (expires_at IS NOT NULL)", name="final_expires"
        ),
        CheckConstraint("expires_at IS NULL OR sealed IS NULL", name="final_without_secrets"),
        CheckConstraint(
            "(token IS NOT NULL) = (status = 'processing' AND writes IS NULL)"
            " AND (token IS NULL) = (holder IS NULL) AND (token IS NULL) = (lease IS NULL)"
            " AND (token IS NULL) = (until IS NULL)",
            name="claimed_while_processing",
        ),
    )
    _index("writing", "writes", where=UNFINISHED, unique=True)
    _index("waiting", "status", "owner", "created_at", "id", where=UNFINISHED)
    _index("begun", "owner", "begun_at", where="begun_at IS NOT NULL")
    _index("expiring", "expires_at", "id", where="expires_at IS NOT NULL")
    _index("token", "token", where="token IS NOT NULL")
    _index("until", "until", where="until IS NOT NULL")
    _index("created", "created_at", "id")
    _index("owner", "owner", "created_at", "id")
    _index("image", "image_id", "created_at", "id")
    _index("written", "writes", "created_at", "id")
    _index("status", "status", "type", "created_at")


def _index(name: str, *columns: str, where: str = "", unique: bool = False) -> None:
    only = text(where) if where else None
    op.create_index(
        f"task_records_{name}",
        "task_records",
        list(columns),
        unique=unique,
        sqlite_where=only,
        postgresql_where=only,
    )
