"""The few things that databases do each in their own way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

_CLOCK = select(func.clock_timestamp())

#: The lock of whoever changes the tables; any number that nobody else uses.
SCHEMA_LOCK_ID = 0x696D616765640A
#: How long a change waits for a table. Everybody else waits behind it.
SCHEMA_LOCK_TIMEOUT = "5s"


def now(db: Connection) -> datetime:
    """The catalog's clock. SQLite runs on its users' host, so there it is the host's."""
    if db.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = db.execute(_CLOCK).scalar_one()
    return moment.astimezone(UTC)


def insert_or_ignore(db: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row. Where its key is taken, nothing happens, and the answer is False."""
    module = sqlite if db.dialect.name == "sqlite" else postgresql
    statement = module.insert(table).on_conflict_do_nothing()
    return db.execute(statement, values).rowcount > 0


def lock(db: Connection, statement: Select[*tuple[Any, ...]], values: dict[str, Any]) -> None:
    """Lock rows and read nothing. A writer of SQLite has the whole file, so nothing is left to do.

    To lock and to read are two statements, because what PostgreSQL joins to a row that it had to
    wait for is as old as the waiting.
    """
    if db.dialect.name != "sqlite":
        db.execute(statement, values)


def lock_schema(db: Connection) -> None:
    """Wait until nobody else changes the tables. A writer of SQLite has the whole file."""
    if db.dialect.name != "sqlite":
        for statement in (
            "SET LOCAL statement_timeout = 0",
            "SET LOCAL lock_timeout = 0",
            f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK_ID})",
            f"SET LOCAL lock_timeout = '{SCHEMA_LOCK_TIMEOUT}'",
        ):
            db.execute(text(statement))
