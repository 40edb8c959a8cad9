"""Adds the creation time of the image to the rows of its tags, properties and members.

Versions before it go on working: triggers set what they do not. Rows that are there already are
filled afterwards (``image_dates.py``), and then get their indexes (revision 0017).
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from imaged.catalogs.migrations.from_0003 import INSTANT

revision = "0016"
down_revision = "0015"

TABLES = ("image_tags", "image_properties", "image_members")
DATE_ROWS = "; ".join(
    f"UPDATE {table} SET image_created_at = NEW.created_at WHERE image_id = NEW.id"  # noqa: S608 - the names of tables
    for table in TABLES
)

SQLITE_ROWS = """
    CREATE TRIGGER {table}_dated AFTER INSERT ON {table} WHEN NEW.image_created_at IS NULL BEGIN
    UPDATE {table} SET image_created_at = (SELECT created_at FROM images WHERE id = NEW.image_id)
    WHERE image_id = NEW.image_id AND image_created_at IS NULL; END
"""
SQLITE_IMAGES = f"""
    CREATE TRIGGER images_dated AFTER UPDATE OF created_at ON images
    WHEN NEW.created_at <> OLD.created_at BEGIN {DATE_ROWS}; END
"""
POSTGRESQL_ROWS_FUNCTION = """
    CREATE FUNCTION set_image_created_at() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.image_created_at := (SELECT created_at FROM images WHERE id = NEW.image_id);
    RETURN NEW; END $$
"""
POSTGRESQL_ROWS = """
    CREATE TRIGGER {table}_dated BEFORE INSERT ON {table} FOR EACH ROW
    WHEN (NEW.image_created_at IS NULL) EXECUTE FUNCTION set_image_created_at()
"""
POSTGRESQL_IMAGES_FUNCTION = f"""
    CREATE FUNCTION date_image_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    {DATE_ROWS}; RETURN NULL; END $$
"""
POSTGRESQL_IMAGES = """
    CREATE TRIGGER images_dated AFTER UPDATE OF created_at ON images FOR EACH ROW
    WHEN (NEW.created_at <> OLD.created_at) EXECUTE FUNCTION date_image_rows()
"""


def upgrade() -> None:
    """Add the columns and the triggers."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:
        op.execute(POSTGRESQL_ROWS_FUNCTION)
        op.execute(POSTGRESQL_IMAGES_FUNCTION)
    for table in TABLES:
        op.add_column(table, Column("image_created_at", INSTANT))
        op.execute((SQLITE_ROWS if is_sqlite else POSTGRESQL_ROWS).format(table=table))
    op.execute(SQLITE_IMAGES if is_sqlite else POSTGRESQL_IMAGES)
