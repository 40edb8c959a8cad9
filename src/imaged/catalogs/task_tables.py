"""The table of tasks: each with its input, its result, and its claim if it writes no image.

``tables.py`` shows how the tables belong together.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Uuid,
)

from imaged.catalogs.dialects import TEXT, Duration, Instant, check_in, metadata, partial_index
from imaged.core.task import TaskStatus

#: A task is final exactly if it has an expiry.
UNFINISHED = "expires_at IS NULL"

tasks = Table(
    "task_records",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("type", TEXT, nullable=False),
    Column("owner", TEXT, nullable=False),
    Column("user_id", TEXT, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("request_id", TEXT),
    Column("input", JSON, nullable=False),
    Column("sealed", LargeBinary),
    Column("image_id", TEXT),  # no foreign key: a task outlives its image
    Column("writes", TEXT),
    Column("status", TEXT, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("phase", TEXT),
    Column("done_bytes", BigInteger),
    Column("total_bytes", BigInteger),
    Column("result", JSON(none_as_null=True)),
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
    CheckConstraint(check_in("status", TaskStatus), name="status_known"),
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
    # an image has one writer: also what images are joined by
    partial_index("task_records_writing", "writes", where=UNFINISHED, unique=True),
    # find_pending_tasks; the number of each owner's tasks in processing
    partial_index("task_records_waiting", "status", "owner", "created_at", "id", where=UNFINISHED),
    # find_pending_tasks: the start of an owner's last attempt
    partial_index("task_records_begun", "owner", "begun_at", where="begun_at IS NOT NULL"),
    # expire_tasks
    partial_index("task_records_expiring", "expires_at", "id", where="expires_at IS NOT NULL"),
    # renew_leases, list_attempts
    partial_index("task_records_token", "token", where="token IS NOT NULL"),
    # find_lapsed
    partial_index("task_records_until", "until", where="until IS NOT NULL"),
    # lists: all, of one owner, of one image; the last also of the task that made it
    Index("task_records_created", "created_at", "id"),
    Index("task_records_owner", "owner", "created_at", "id"),
    Index("task_records_image", "image_id", "created_at", "id"),
    Index("task_records_written", "writes", "created_at", "id"),
    # lists of one status; summarize, without reading the rows
    Index("task_records_status", "status", "type", "created_at"),
)
