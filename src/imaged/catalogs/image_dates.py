"""Keeps the creation time of an image in the rows of its tags, properties and members.

Their indexes are ordered by it. Triggers do that, so that it also holds for what other versions
write: those that know no such column, and those that publish a draft, which dates it anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy import DDL, Connection, Table, event, text

DATED_TABLES = ("image_tags", "image_properties", "image_members")
FILLED_AT_ONCE = 5000  # rows, in one transaction

_DATE_ROWS = "; ".join(
    f"UPDATE {table} SET image_created_at = NEW.created_at WHERE image_id = NEW.id"  # noqa: S608 - the names of tables
    for table in DATED_TABLES
)

SQLITE_ROWS = """
    CREATE TRIGGER {table}_dated AFTER INSERT ON {table} WHEN NEW.image_created_at IS NULL BEGIN
    UPDATE {table} SET image_created_at = (SELECT created_at FROM images WHERE id = NEW.image_id)
    WHERE image_id = NEW.image_id AND image_created_at IS NULL; END
"""
SQLITE_IMAGES = f"""
    CREATE TRIGGER images_dated AFTER UPDATE OF created_at ON images
    WHEN NEW.created_at <> OLD.created_at BEGIN {_DATE_ROWS}; END
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
    {_DATE_ROWS}; RETURN NULL; END $$
"""
POSTGRESQL_IMAGES = """
    CREATE TRIGGER images_dated AFTER UPDATE OF created_at ON images FOR EACH ROW
    WHEN (NEW.created_at <> OLD.created_at) EXECUTE FUNCTION date_image_rows()
"""

#: The rows of the next images, in the order of their ids.
_LAST_OF_NEXT = """
SELECT max(image_id) FROM (
    SELECT image_id FROM {table} WHERE image_id > :after ORDER BY image_id LIMIT :most
) AS next
"""
_FILL = """
UPDATE {table} SET image_created_at = (SELECT created_at FROM images WHERE id = image_id)
WHERE image_id > :after AND image_id <= :last AND image_created_at IS NULL
"""


def keep_current(images: Table, *dated: Table) -> None:
    """Make the triggers with these tables, the images first."""
    on_sqlite, on_postgresql = (
        [SQLITE_IMAGES],
        [
            POSTGRESQL_ROWS_FUNCTION,
            POSTGRESQL_IMAGES_FUNCTION,
            POSTGRESQL_IMAGES,
        ],
    )
    for table in dated:
        on_sqlite.append(SQLITE_ROWS.format(table=table.name))
        on_postgresql.append(POSTGRESQL_ROWS.format(table=table.name))
    for name, statements in (("sqlite", on_sqlite), ("postgresql", on_postgresql)):
        for statement in statements:
            made = DDL(statement)  # type: ignore[no-untyped-call]
            event.listen(images.metadata, "after_create", made.execute_if(dialect=name))


def fill_some(db: Connection, table: str, after: str) -> str | None:
    """Date the rows of the next images behind this id; returns the last of those, or None at the
    end.

    Rows that have a time are left alone, so what was interrupted may begin again.
    """
    values = {"after": after, "most": FILLED_AT_ONCE}
    last: str | None = db.execute(text(_LAST_OF_NEXT.format(table=table)), values).scalar()
    if last is not None:
        db.execute(text(_FILL.format(table=table)), {"after": after, "last": last})
    return last


async def fill_all(
    run: Callable[[Callable[[Connection], str | None]], Awaitable[str | None]],
) -> None:
    """Date all rows, in one transaction after another. Raises what ``run`` raises."""
    for table in DATED_TABLES:
        after: str | None = ""
        while after is not None:
            after = await run(partial(fill_some, table=table, after=after))
