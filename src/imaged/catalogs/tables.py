"""The tables, for SQLite and PostgreSQL alike.

    images ─┬─< image_tags, image_properties   to filter by; to render there are JSON columns
            ├─< image_members                  projects with which they are shared
            ├─< image_history                  what was done to them, and by whom
            ├─< image_locations >── blobs      references to bytes; the blob says where they are
            │                         └─< block_checksums   of its bytes, in pages
            ├─── task_records                  of them, the one that writes the image
            └─── claims                        the image's claim and its lease, in one row
    task_records   tasks, with the claims of those that write no image
    accounts       usage, by owner             tombstones     ids that are never used again
    outbox         events that wait to be sent
    instances      running processes           compatibility  the oldest revision that still fits
    clock          the last trusted time
    places         whose data is in the stores catalog_identity  one row: the catalog's id

Rule 1: what the lifecycle forbids, a CHECK refuses, whatever the statement.
Rule 2: nothing is stored twice. An image's claim *is* its row in ``claims``, and a location's size
        *is* the blob's; only tags and properties are, because reading and filtering need
        different shapes of them, and the creation time of their image (``image_dates.py``).
Rule 3: every index says which statement needs it.

Text sorts by code point everywhere (on PostgreSQL: collation "C"). ``migrations/`` makes these
tables; a test compares the two.
"""

from __future__ import annotations

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
    Table,
    Uuid,
    false,
    literal_column,
)

from imaged.catalogs import (  # noqa: F401 - they are among them
    account_tables,
    image_dates,
    installation_tables,
    outbox_tables,
    task_tables,
)
from imaged.catalogs.dialects import (
    TEXT,
    Duration,
    Instant,
    check_in,
    metadata,
    nulls_first_index,
    partial_index,
)
from imaged.core.blob import BlobState
from imaged.core.image import Visibility
from imaged.core.lifecycle import RESTORE_EVENTS, Status
from imaged.core.member import MemberStatus

STAGED = -1  # the position of staged data among the locations of an image

#: Of long values: an index entry has a maximum size.
value_prefix = literal_column("substr(value, 1, 64)", TEXT)

images = Table(
    "images",
    metadata,
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
    Column("draft", Boolean, nullable=False, server_default=false()),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("size_bytes", BigInteger),
    Column("checksum", TEXT),
    Column("hash_algorithm", TEXT),
    Column("hash_value", TEXT),
    Column("virtual_size_bytes", BigInteger),
    Column("notice", TEXT),
    Column("staged_content", JSON(none_as_null=True)),
    Column("finished_by", Uuid),
    Column("failure_phase", TEXT),
    Column("failure_reason", TEXT),
    Column("failure_at", Instant),
    Column("damage", TEXT),
    Column("broken_announced_bytes", BigInteger),
    Column("broken_received_bytes", BigInteger),
    Column("broken_checksum", TEXT),
    Column("broken_at", Instant),
    Column("broken_refused_bytes", BigInteger),
    CheckConstraint(check_in("status", Status), name="status_known"),
    CheckConstraint(check_in("visibility", Visibility), name="visibility_known"),
    CheckConstraint(
        "deleted_from IS NULL"
        f" OR (status = 'pending_delete' AND {check_in('deleted_from', RESTORE_EVENTS)})",
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
    # lists in the default order or sorted by a column, of all images or those with one value
    Index("images_created", "created_at", "id"),
    Index("images_owner", "owner", "created_at", "id"),
    Index("images_visibility", "visibility", "created_at", "id"),
    Index("images_status", "status", "created_at", "id"),
    Index("images_updated", "updated_at", "created_at", "id"),
    Index("images_min_ram", "min_ram_mib", "created_at", "id"),
    Index("images_min_disk", "min_disk_gib", "created_at", "id"),
    *nulls_first_index("images_name", "name", "created_at", "id"),
    *nulls_first_index("images_disk_format", "disk_format", "created_at", "id"),
    *nulls_first_index("images_container_format", "container_format", "created_at", "id"),
    *nulls_first_index("images_size", "size_bytes", "created_at", "id"),
    partial_index("images_redated", "created_at", "id", where="updated_at < created_at"),
    partial_index("images_protected", "created_at", "id", where="protected"),
    partial_index("images_hidden", "created_at", "id", where="hidden"),
    partial_index(
        "images_virtual_size", "virtual_size_bytes", where="virtual_size_bytes IS NOT NULL"
    ),
    partial_index("images_checksum", "checksum", where="checksum IS NOT NULL"),
    partial_index("images_hash_value", "hash_value", where="hash_value IS NOT NULL"),
    partial_index(
        "images_hash_algorithm",
        "hash_algorithm",
        "created_at",
        "id",
        where="hash_algorithm IS NOT NULL",
    ),
    # find_expirable
    partial_index("images_restorable", "since", "id", where="deleted_from IS NOT NULL"),
    # find_broken_uploads
    partial_index("images_broken", "broken_at", "id", where="broken_at IS NOT NULL"),
    # summarize
    partial_index("images_damaged", "status", where="damage IS NOT NULL"),
    # purge, find_staged
    Index("images_since", "status", "since", "id"),
)

image_tags = Table(
    "image_tags",
    metadata,
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", TEXT, primary_key=True),
    Column("image_created_at", Instant),
    # lists of images with a tag, in the default order
    Index("image_tags_tag", "tag", "image_created_at", "image_id"),
    sqlite_with_rowid=False,
)

image_properties = Table(
    "image_properties",
    metadata,
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    Column("image_created_at", Instant),
    # lists of images with a property, in the default order
    Index("image_properties_value", "name", value_prefix, "image_created_at", "image_id"),
)

image_members = Table(
    "image_members",
    metadata,
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("member_id", TEXT, primary_key=True),
    Column("status", TEXT, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("image_created_at", Instant),
    CheckConstraint(check_in("status", MemberStatus), name="member_status_known"),
    # lists of images shared with a project; a branch of every caller's list
    Index("image_members_member", "member_id", "status", "image_created_at", "image_id"),
    sqlite_with_rowid=False,
)

#: Rows of ``core/history.py``. The primary key finds those of an image, and the oldest of them.
image_history = Table(
    "image_history",
    metadata,
    Column("image_id", ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("user_id", TEXT),
    Column("project_id", TEXT),
    Column("peer", TEXT),
    Column("request_id", TEXT),
    Column("details", JSON, nullable=False),
    sqlite_with_rowid=False,
)

blobs = Table(
    "blobs",
    metadata,
    Column("key", TEXT, primary_key=True),
    Column("store", TEXT, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("holders", Integer, nullable=False),
    Column("due_at", Instant),
    Column("awaited_by", ForeignKey("images.id")),
    Column("failures", Integer, nullable=False),
    Column("last_error", TEXT),
    Column("upload_id", TEXT),
    Column("is_unfinished", Boolean, nullable=False, server_default=false()),
    Column("is_swept", Boolean, nullable=False, server_default=false()),
    CheckConstraint(check_in("state", BlobState), name="state_known"),
    CheckConstraint("size_bytes >= 0", name="size_possible"),
    CheckConstraint("holders >= 0 AND (state = 'doomed') = (holders = 0)", name="doomed_unheld"),
    CheckConstraint("(state = 'doomed') = (due_at IS NOT NULL)", name="doomed_due"),
    CheckConstraint("awaited_by IS NULL OR state = 'doomed'", name="awaited_when_doomed"),
    # take_doomed, list_doomed
    partial_index("blobs_due", "due_at", "key", where="due_at IS NOT NULL"),
    # list_keys, list_kept
    Index("blobs_store", "store", "key"),
    # summarize, without looking at the rows
    Index("blobs_stock", "store", "state", "size_bytes", "failures"),
    # purge: does a blob await this image?
    partial_index("blobs_awaited_by", "awaited_by", where="awaited_by IS NOT NULL"),
)

#: Pages of ``core/integrity.py``. The primary key finds the page of a block.
block_checksums = Table(
    "block_checksums",
    metadata,
    Column("key", ForeignKey("blobs.key", ondelete="CASCADE"), primary_key=True),
    Column("page", Integer, primary_key=True),
    Column("checksums", LargeBinary, nullable=False),
)

image_locations = Table(
    "image_locations",
    metadata,
    Column("image_id", ForeignKey("images.id"), primary_key=True),
    Column("key", ForeignKey("blobs.key"), primary_key=True),
    Column("position", Integer, nullable=False),  # the image's first, second …; -1: staged
    CheckConstraint("position >= -1", name="position_possible"),
    # Before a blob's row is removed: does an image refer to it?
    Index("image_locations_key", "key"),
    sqlite_with_rowid=False,
)

claims = Table(
    "claims",
    metadata,
    Column("token", Uuid, primary_key=True),
    Column("image_id", ForeignKey("images.id"), nullable=False, unique=True),
    Column("holder", TEXT, nullable=False),
    Column("lease", Duration, nullable=False),
    Column("until", Instant, nullable=False),
    Column(  # of a body of unknown length
        "ahead_bytes",
        BigInteger,
        CheckConstraint("ahead_bytes IS NULL OR ahead_bytes >= 0", name="ahead_bytes_possible"),
    ),
    CheckConstraint("lease >= 0", name="lease_possible"),
    # find_lapsed
    Index("claims_until", "until"),
)

tombstones = Table("tombstones", metadata, Column("id", TEXT, primary_key=True))


image_dates.keep_current(images, image_tags, image_properties, image_members)
