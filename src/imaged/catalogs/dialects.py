"""What differs between SQLite and PostgreSQL: types of columns, indexes, and a few statements.

Instants and durations have microsecond precision and sort by value. PostgreSQL has a type for
instants. SQLite has none: they are stored as whole microseconds since 1970, which
``datetime(created_at / 1000000, 'unixepoch')`` makes readable for an operator.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Index,
    MetaData,
    Select,
    String,
    Table,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.compiler import DDLCompiler, SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

from imaged.catalogs.prepared import PreparedWrite
from imaged.units import MICROSECOND

SQLITE = "sqlite"  # its name among dialects
_WHERE = "where"  # the condition of a partial index, in its ``info``
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: The advisory lock of schema changes; an arbitrary number that has no other use.
SCHEMA_LOCK_ID = 0x696D616765640A
#: How long a schema change waits for a table, while all other statements wait behind it.
SCHEMA_LOCK_TIMEOUT = "5s"

TEXT = String().with_variant(String(collation="C"), "postgresql")

metadata = MetaData()
_CLOCK = select(func.clock_timestamp())


class Instant(TypeDecorator[datetime]):
    """An aware datetime."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of the column, by database."""
        kept = BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True)
        return dialect.type_descriptor(kept)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """The value sent to the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return (value - EPOCH) // MICROSECOND

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None]:
        """What makes an instant in UTC of a value read back: one call per value, where
        SQLAlchemy's own way takes two, because a page of a list reads hundreds.
        """
        del coltype
        return _from_microseconds if dialect.name == "sqlite" else _in_utc


def _from_microseconds(value: int | None) -> datetime | None:
    return None if value is None else EPOCH + timedelta(microseconds=value)


def _in_utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


class Duration(TypeDecorator[timedelta]):
    """A timedelta, as whole microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:
        """The value sent to the database."""
        del dialect
        return None if value is None else value // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> timedelta | None:
        """The value read back."""
        del dialect
        return None if value is None else timedelta(microseconds=value)


def compiled_arguments(
    element: FunctionElement[Any], compiler: SQLCompiler, options: Mapping[str, Any]
) -> list[str]:
    """The SQL of each argument."""
    return [compiler.process(one, **options) for one in element.clauses]


class _MinusDuration(FunctionElement[datetime]):
    """An instant minus a duration."""

    type = Instant()
    inherit_cache = True


@compiles(_MinusDuration)
def _with_intervals(element: _MinusDuration, compiler: SQLCompiler, **options: Any) -> str:
    instant, duration = compiled_arguments(element, compiler, options)
    return f"({instant} - {duration} * interval '1 microsecond')"


@compiles(_MinusDuration, "sqlite")
def _with_numbers(element: _MinusDuration, compiler: SQLCompiler, **options: Any) -> str:
    instant, duration = compiled_arguments(element, compiler, options)
    return f"({instant} - {duration})"


def minus_duration(
    instant: ColumnElement[datetime], duration: ColumnElement[timedelta]
) -> ColumnElement[datetime]:
    """An instant minus a duration, in SQL."""
    return _MinusDuration(instant, duration)


class TextList(TypeDecorator[Sequence[str]]):
    """Any number of texts as one parameter: an array for PostgreSQL, JSON for SQLite."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type of the parameter, by database."""
        sent = String() if dialect.name == "sqlite" else ARRAY(String)
        return dialect.type_descriptor(sent)

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        """The value sent to the database."""
        if value is None or dialect.name != "sqlite":
            return value
        return msgspec.json.encode(value).decode()


class _IsAnyOf(FunctionElement[Any]):
    """Whether a text is in a TextList. Not of the type Boolean: SQLAlchemy compares that with 1 in
    SQLite, which then uses no index.
    """

    type = NullType()
    inherit_cache = True


@compiles(_IsAnyOf)
def _in_array(element: _IsAnyOf, compiler: SQLCompiler, **options: Any) -> str:
    text_sql, list_sql = compiled_arguments(element, compiler, options)
    return f"({text_sql} = ANY ({list_sql}))"


@compiles(_IsAnyOf, "sqlite")
def _in_json(element: _IsAnyOf, compiler: SQLCompiler, **options: Any) -> str:
    text_sql, list_sql = compiled_arguments(element, compiler, options)
    return f"({text_sql} IN (SELECT value FROM json_each({list_sql})))"  # noqa: S608 - both compiled


def is_any_of(column: ColumnElement[str], parameter: str) -> ColumnElement[Any]:
    """The condition that a column has one of the texts of a parameter.

    The statement is the same for any number of texts. ``IN`` with a parameter for each text is
    compiled again in every execution, which took a tenth of the time of a page of 25.
    """
    return _IsAnyOf(column, bindparam(parameter, type_=TextList()))


def check_in(column: str, values: Iterable[StrEnum]) -> str:
    """The condition that a column has one of these values."""
    names = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({names})"


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index of the rows that meet a condition.

    SQLAlchemy's argument for PostgreSQL would load that dialect, 2 MiB, beside SQLite too.
    """
    return Index(name, *columns, unique=unique, sqlite_where=text(where), info={_WHERE: where})


@compiles(CreateIndex, "postgresql")
def _create_partial_index(create: CreateIndex, compiler: DDLCompiler, **options: Any) -> str:
    statement: str = compiler.visit_create_index(create, **options)  # type: ignore[no-untyped-call]
    where = create.element.info.get(_WHERE)
    return statement if where is None else f"{statement} WHERE {where}"


def nulls_first_index(name: str, column: str, *others: str) -> Sequence[Index]:
    """An index, one for each database, in which images without a value of the column come first,
    as in lists.
    """
    return (
        Index(name, column, *others).ddl_if(dialect="sqlite"),
        Index(name, text(f"{column} NULLS FIRST"), *others).ddl_if(dialect="postgresql"),
    )


def now(db: Connection) -> datetime:
    """The catalog's clock. SQLite runs on the host of its users, so its clock is the host's."""
    if db.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = db.execute(_CLOCK).scalar_one()
    return moment.astimezone(UTC)


def why_unreadable(error: Exception) -> str | None:
    """Why the values of a row that was found mean nothing, because a disk or an editor changed
    them; None for an error of another kind, such as a database that does not answer.
    """
    if isinstance(error, DBAPIError):
        # Python's sqlite3 found bytes that are no text; errors of SQLite itself have a code.
        is_text = isinstance(error.orig, sqlite3.OperationalError) and not hasattr(
            error.orig, "sqlite_errorcode"
        )
        return str(error.orig) if is_text else None
    return str(error) if isinstance(error, TypeError | ValueError | OverflowError) else None


def insert_or_ignore(db: Connection, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row; returns False, without effect, if its key is taken."""
    return _insertion_or_nothing(table, db.dialect.name).execute(db, values) > 0


@cache
def _insertion_or_nothing(table: Table, dialect: str) -> PreparedWrite:
    if dialect == SQLITE:
        return PreparedWrite(sqlite.insert(table).on_conflict_do_nothing())
    from sqlalchemy.dialects import postgresql  # lazy: 2 MiB

    return PreparedWrite(postgresql.insert(table).on_conflict_do_nothing())


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
