"""Adds indexes for every filter and every order of lists of images.

Versions before it go on working: an index that is replaced begins with the same columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alembic import op
from sqlalchemy import TextClause, text

revision = "0017"
down_revision = "0016"

ORDERED = {
    "images_updated": "updated_at",
    "images_min_ram": "min_ram_mib",
    "images_min_disk": "min_disk_gib",
}
NULLS_FIRST = {
    "images_name": "name",
    "images_disk_format": "disk_format",
    "images_container_format": "container_format",
    "images_size": "size_bytes",
}
#: Of some images only: the columns, and which images.
PARTIAL = {
    "images_redated": ("created_at id", "updated_at < created_at"),
    "images_protected": ("created_at id", "protected"),
    "images_hidden": ("created_at id", "hidden"),
    "images_virtual_size": ("virtual_size_bytes", "virtual_size_bytes IS NOT NULL"),
    "images_checksum": ("checksum", "checksum IS NOT NULL"),
    "images_hash_value": ("hash_value", "hash_value IS NOT NULL"),
    "images_hash_algorithm": ("hash_algorithm created_at id", "hash_algorithm IS NOT NULL"),
}
#: Replaced: their tables and columns, before the creation time and the id of the image.
OF_ROWS: Mapping[str, tuple[str, Sequence[str | TextClause]]] = {
    "image_tags_tag": ("image_tags", ["tag"]),
    "image_properties_value": ("image_properties", ["name", text("substr(value, 1, 64)")]),
    "image_members_member": ("image_members", ["member_id", "status"]),
}


def upgrade() -> None:
    """Make them."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.drop_index("images_name", "images")
    for name, column in NULLS_FIRST.items():
        first = column if is_sqlite else text(f"{column} NULLS FIRST")
        op.create_index(name, "images", [first, "created_at", "id"])
    for name, column in ORDERED.items():
        op.create_index(name, "images", [column, "created_at", "id"])
    for name, (columns, those) in PARTIAL.items():
        only = text(those)
        op.create_index(name, "images", columns.split(), sqlite_where=only, postgresql_where=only)
    for name, (table, first_columns) in OF_ROWS.items():
        op.drop_index(name, table)
        op.create_index(name, table, [*first_columns, "image_created_at", "image_id"])
