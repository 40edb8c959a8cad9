"""The first tables."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Uuid,
    text,
)

from imaged.catalogs.column_types import Duration, Instant

revision = "0001"
down_revision = None

TEXT = String().with_variant(String(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table."""
    _make_images()
    _make_ledger()
    _make_work()


def _index_where(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def _make_images() -> None:
    op.create_table(
        "images",
        Column("id", TEXT, primary_key=True),
        Column("owner", TEXT, nullable=False),
        Column("name", TEXT),
        Column("disk_format", TEXT),
        Column("container_format", TEXT),
        Column("visibility", TEXT, nullable=False),
        Column("protected", Boolean, nullable=False),
        Column("hidden", Boolean, nullable=False),
        Column("min_ram_mib", BigInteger, nullable=False),
        Column("min_disk_gib", BigInteger, nullable=False),
        Column("tags", JSON, nullable=False),
        Column("properties", JSON, nullable=False),
        Column("status", TEXT, nullable=False),
        Column("since", Instant, nullable=False),
        Column("deleted_from", TEXT),
        Column("created_at", Instant, nullable=False),
        Column("updated_at", Instant, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("size_bytes", BigInteger),
        Column("checksum", TEXT),
        Column("hash_algorithm", TEXT),
        Column("hash_value", TEXT),
        Column("virtual_size_bytes", BigInteger),
        Column("finished_by", Uuid),
        Column("failure_phase", TEXT),
        Column("failure_reason", TEXT),
        Column("failure_at", Instant),
        CheckConstraint(
            "status IN ('queued', 'saving', 'uploading', 'importing', 'active', "
            "'deactivated', 'killed', 'pending_delete', 'deleted')",
            name="status_known",
        ),
        CheckConstraint(
            "visibility IN ('private', 'shared', 'community', 'public')",
            name="visibility_known",
        ),
        CheckConstraint(
            "deleted_from IS NULL"
            " OR (status = 'pending_delete' AND deleted_from IN ('active', 'deactivated'))",
            name="restorable_while_waiting",
        ),
        CheckConstraint(
            "size_bytes IS NOT NULL OR status NOT IN ('active', 'deactivated', 'pending_delete')",
            name="complete_when_active",
        ),
        CheckConstraint(
            "size_bytes IS NULL"
            " OR status NOT IN ('queued', 'saving', 'uploading', 'importing', 'killed')",
            name="empty_until_active",
        ),
        CheckConstraint(
            "(size_bytes IS NULL) = (checksum IS NULL)"
            " AND (size_bytes IS NULL) = (hash_algorithm IS NULL)"
            " AND (size_bytes IS NULL) = (hash_value IS NULL)"
            " AND (size_bytes IS NOT NULL OR virtual_size_bytes IS NULL)",
            name="content_whole",
        ),
        CheckConstraint(
            "(failure_phase IS NULL) = (failure_reason IS NULL)"
            " AND (failure_phase IS NOT NULL OR failure_at IS NULL)",
            name="failure_whole",
        ),
        Index("images_created", "created_at", "id"),
        Index("images_owner", "owner", "created_at", "id"),
        Index("images_visibility", "visibility", "created_at", "id"),
        Index("images_status", "status", "created_at", "id"),
        Index("images_name", "name", "id"),
        _index_where("images_restorable", "since", "id", where="deleted_from IS NOT NULL"),
        Index("images_since", "status", "since", "id"),
    )
    op.create_table(
        "image_tags",
        Column("image_id", TEXT, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
        Column("tag", TEXT, primary_key=True),
        Index("image_tags_tag", "tag", "image_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "image_properties",
        Column("image_id", TEXT, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
        Column("name", TEXT, primary_key=True),
        Column("value", TEXT, nullable=False),
        Index("image_properties_value", "name", text("substr(value, 1, 64)"), "image_id"),
    )
    op.create_table("tombstones", Column("id", TEXT, primary_key=True))


def _make_ledger() -> None:
    op.create_table(
        "blobs",
        Column("key", TEXT, primary_key=True),
        Column("store", TEXT, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("holders", Integer, nullable=False),
        Column("due_at", Instant),
        Column("awaited_by", TEXT, ForeignKey("images.id")),
        Column("failures", Integer, nullable=False),
        Column("last_error", TEXT),
        CheckConstraint("state IN ('writing', 'kept', 'doomed')", name="state_known"),
        CheckConstraint("size_bytes >= 0", name="size_possible"),
        CheckConstraint(
            "holders >= 0 AND (state = 'doomed') = (holders = 0)",
            name="doomed_unheld",
        ),
        CheckConstraint("(state = 'doomed') = (due_at IS NOT NULL)", name="doomed_due"),
        CheckConstraint("awaited_by IS NULL OR state = 'doomed'", name="awaited_when_doomed"),
        _index_where("blobs_due", "due_at", "key", where="due_at IS NOT NULL"),
        Index("blobs_store", "store", "key"),
        _index_where("blobs_awaited_by", "awaited_by", where="awaited_by IS NOT NULL"),
    )
    op.create_table(
        "image_locations",
        Column("image_id", TEXT, ForeignKey("images.id"), primary_key=True),
        Column("key", TEXT, ForeignKey("blobs.key"), primary_key=True),
        Column("position", Integer, nullable=False),
        CheckConstraint("position >= -1", name="position_possible"),
        Index("image_locations_key", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "accounts",
        Column("owner", TEXT, primary_key=True),
        Column("used_bytes", BigInteger, nullable=False),
        Column("limit_bytes", BigInteger),
        CheckConstraint("used_bytes >= 0", name="used_possible"),
        CheckConstraint("limit_bytes IS NULL OR limit_bytes >= 0", name="limit_possible"),
    )


def _make_work() -> None:
    op.create_table(
        "tasks",
        Column("id", TEXT, primary_key=True),
        Column(
            "image_id",
            TEXT,
            ForeignKey("images.id", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
        Column("status", TEXT, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("max_attempts", Integer, nullable=False),
        Column("message", TEXT),
        CheckConstraint(
            "status IN ('pending', 'processing', 'success', 'failure')",
            name="status_known",
        ),
        CheckConstraint("attempts >= 0 AND attempts <= max_attempts", name="attempts_limited"),
        CheckConstraint("(status = 'failure') = (message IS NOT NULL)", name="failure_explained"),
        _index_where("tasks_pending", "image_id", where="status = 'pending'"),
    )
    op.create_table(
        "claims",
        Column("token", Uuid, primary_key=True),
        Column("image_id", TEXT, ForeignKey("images.id"), nullable=False, unique=True),
        Column("holder", TEXT, nullable=False),
        Column("lease", Duration, nullable=False),
        Column("until", Instant, nullable=False),
        CheckConstraint("lease >= 0", name="lease_possible"),
        Index("claims_until", "until"),
    )
