"""The first revision: every table, for a new catalog.

It repeats what ``tables.py`` and ``task_tables.py`` said at this revision, and imports nothing of
them: it never changes, and neither does what it has of ``from_0003.py``. A test compares the two
until there is a next revision.
"""

from __future__ import annotations

from uuid import uuid4

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
    LargeBinary,
    Uuid,
    false,
    text,
)

from imaged.catalogs.migrations.from_0003 import (
    DURATION,
    INSTANT,
    TEXT,
    block_checksum_columns,
    clock_columns,
    place_columns,
)

revision = "0009"
down_revision = None

UNFINISHED = "expires_at IS NULL"

#: The oldest revision whose versions work with these tables.
OLDEST = "0003"


def upgrade() -> None:
    """Create every table."""
    _create_images()
    _create_ledger()
    _create_tasks()
    _create_installation()


def _partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    only = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=only, postgresql_where=only)


def _create_images() -> None:
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
        Column("since", INSTANT, nullable=False),
        Column("deleted_from", TEXT),
        Column("draft", Boolean, nullable=False, server_default=false()),
        Column("created_at", INSTANT, nullable=False),
        Column("updated_at", INSTANT, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("size_bytes", BigInteger),
        Column("checksum", TEXT),
        Column("hash_algorithm", TEXT),
        Column("hash_value", TEXT),
        Column("virtual_size_bytes", BigInteger),
        Column("notice", TEXT),
        Column("staged_content", JSON),
        Column("finished_by", Uuid),
        Column("failure_phase", TEXT),
        Column("failure_reason", TEXT),
        Column("failure_at", INSTANT),
        Column("damage", TEXT),
        Column("broken_announced_bytes", BigInteger),
        Column("broken_received_bytes", BigInteger),
        Column("broken_checksum", TEXT),
        Column("broken_at", INSTANT),
        Column("broken_refused_bytes", BigInteger),
        CheckConstraint(
            "status IN ('queued', 'saving', 'uploading', 'importing', 'active', "
            "'deactivated', 'killed', 'pending_delete', 'deleted')",
            name="status_known",
        ),
        CheckConstraint(
            "visibility IN ('private', 'shared', 'community', 'public')", name="visibility_known"
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
        Index("images_since", "status", "since", "id"),
        _partial_index("images_restorable", "since", "id", where="deleted_from IS NOT NULL"),
        _partial_index("images_broken", "broken_at", "id", where="broken_at IS NOT NULL"),
        _partial_index("images_damaged", "status", where="damage IS NOT NULL"),
    )
    is_postgresql = op.get_context().dialect.name == "postgresql"  # sorts null last by default
    name = text("name NULLS FIRST") if is_postgresql else "name"
    op.create_index("images_name", "images", [name, "id"])
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
    op.create_table(
        "claims",
        Column("token", Uuid, primary_key=True),
        Column("image_id", TEXT, ForeignKey("images.id"), nullable=False, unique=True),
        Column("holder", TEXT, nullable=False),
        Column("lease", DURATION, nullable=False),
        Column("until", INSTANT, nullable=False),
        CheckConstraint("lease >= 0", name="lease_possible"),
        Index("claims_until", "until"),
    )


def _create_ledger() -> None:
    op.create_table(
        "blobs",
        Column("key", TEXT, primary_key=True),
        Column("store", TEXT, nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("state", TEXT, nullable=False),
        Column("holders", Integer, nullable=False),
        Column("due_at", INSTANT),
        Column("awaited_by", TEXT, ForeignKey("images.id")),
        Column("failures", Integer, nullable=False),
        Column("last_error", TEXT),
        Column("upload_id", TEXT),
        Column("is_unfinished", Boolean, nullable=False, server_default=false()),
        Column("is_swept", Boolean, nullable=False, server_default=false()),
        CheckConstraint("state IN ('writing', 'kept', 'doomed')", name="state_known"),
        CheckConstraint("size_bytes >= 0", name="size_possible"),
        CheckConstraint(
            "holders >= 0 AND (state = 'doomed') = (holders = 0)", name="doomed_unheld"
        ),
        CheckConstraint("(state = 'doomed') = (due_at IS NOT NULL)", name="doomed_due"),
        CheckConstraint("awaited_by IS NULL OR state = 'doomed'", name="awaited_when_doomed"),
        _partial_index("blobs_due", "due_at", "key", where="due_at IS NOT NULL"),
        Index("blobs_store", "store", "key"),
        Index("blobs_stock", "store", "state", "size_bytes", "failures"),
        _partial_index("blobs_awaited_by", "awaited_by", where="awaited_by IS NOT NULL"),
    )
    op.create_table("block_checksums", *block_checksum_columns())
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


def _create_tasks() -> None:
    op.create_table(
        "task_records",
        Column("id", TEXT, primary_key=True),
        *(Column(name, TEXT, nullable=False) for name in ("type", "owner", "user_id", "status")),
        *(Column(name, JSON, nullable=False) for name in ("roles", "input")),
        *(Column(name, TEXT) for name in ("request_id", "image_id", "writes", "phase")),
        *(Column(name, TEXT) for name in ("message", "holder")),
        *(Column(name, Integer, nullable=False) for name in ("attempts", "max_attempts")),
        *(Column(name, BigInteger) for name in ("done_bytes", "total_bytes")),
        *(Column(name, INSTANT, nullable=False) for name in ("created_at", "updated_at")),
        *(Column(name, INSTANT) for name in ("begun_at", "expires_at", "until")),
        *(Column(name, Uuid) for name in ("token", "finished_by")),
        Column("sealed", LargeBinary),
        Column("result", JSON),
        Column("keep_for", DURATION, nullable=False),
        Column("lease", DURATION),
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
        _partial_index("task_records_writing", "writes", where=UNFINISHED, unique=True),
        _partial_index(
            "task_records_waiting", "status", "owner", "created_at", "id", where=UNFINISHED
        ),
        _partial_index("task_records_begun", "owner", "begun_at", where="begun_at IS NOT NULL"),
        _partial_index("task_records_expiring", "expires_at", "id", where="expires_at IS NOT NULL"),
        _partial_index("task_records_token", "token", where="token IS NOT NULL"),
        _partial_index("task_records_until", "until", where="until IS NOT NULL"),
        Index("task_records_created", "created_at", "id"),
        Index("task_records_owner", "owner", "created_at", "id"),
        Index("task_records_image", "image_id", "created_at", "id"),
        Index("task_records_written", "writes", "created_at", "id"),
        Index("task_records_status", "status", "type", "created_at"),
    )


def _create_installation() -> None:
    op.create_table(
        "instances",
        Column("id", TEXT, primary_key=True),
        Column("version", TEXT, nullable=False),
        Column("roles", JSON, nullable=False),
        Column("started_at", INSTANT, nullable=False),
        Column("seen_at", INSTANT, nullable=False),
        Column("troubles", JSON, nullable=False, server_default=text("'[]'")),
    )
    compatibility = op.create_table("compatibility", Column("oldest", TEXT, primary_key=True))
    op.bulk_insert(compatibility, [{"oldest": OLDEST}])
    op.create_table("clock", *clock_columns())
    identity = op.create_table("catalog_identity", Column("id", Uuid, primary_key=True))
    op.bulk_insert(identity, [{"id": uuid4()}])
    op.create_table("places", *place_columns())
