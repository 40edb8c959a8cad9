"""The few operations that each database does in its own way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

_CLOCK = select(func.clock_timestamp())

#: The advisory lock of schema changes; an arbitrary number that has no other use.
SCHEMA_LOCK_ID = 0x696D616765640A
#: How long a schema change waits for a table, while all other statements wait behind it.
SCHEMA_LOCK_TIMEOUT = "5s"


def now(db: Connection) -> datetime:
    """The catalog's clock. SQLite runs on the host of its users, so its clock is the host's."""
    if db.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = db.execute(_CLOCK).scalar_one()
    return moment.astimezone(UTC)


def insert_or_ignore(db: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row; returns False, without effect, if its key is taken."""
    module = sqlite if db.dialect.name == "sqlite" else postgresql
    statement = module.insert(table).on_conflict_do_nothing()
    return db.execute(statement, values).rowcount > 0


def lock(db: Connection, statement: Select[*tuple[Any, ...]], values: dict[str, Any]) -> None:
    """Lock rows and read nothing. A writer of SQLite has locked the whole file already.

    Locking and reading are two statements, because PostgreSQL joins a row that it had to wait for
    with data as old as the start of the wait.
    """
    if db.dialect.name != "sqlite":
        db.execute(statement, values)


def lock_schema(db: Connection) -> None:
    """Lock the schema against other changes. In SQLite a writer has locked the file."""
    if db.dialect.name != "sqlite":
        for statement in (
            "SET LOCAL statement_timeout = 0",
            "SET LOCAL lock_timeout = 0",
            f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK_ID})",
            f"SET LOCAL lock_timeout = '{SCHEMA_LOCK_TIMEOUT}'",
        ):
            db.execute(text(statement))
