"""Expressions in lists that SQLite and PostgreSQL write differently."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, FromClause, Join, Table, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from imaged.catalogs.dialects import SQLITE, compiled_arguments


class _OrderedJoin(Join):
    """A join that begins with its left table."""

    inherit_cache = True


@compiles(_OrderedJoin, "sqlite")
def _as_cross_join(element: _OrderedJoin, compiler: SQLCompiler, **options: Any) -> str:
    """SQLite keeps the order of a CROSS JOIN. It has no statistics, and would else begin with a
    condition on the other table that nearly all of its rows meet.
    """
    joined = str(compiler.visit_join(element, **options))  # type: ignore[no-untyped-call]
    return joined.replace(" JOIN ", " CROSS JOIN ", 1)


def join_beginning_with(
    left: FromClause, right: Table, on: ColumnElement[bool] | None = None
) -> Join:
    """A join of a table with few matching rows to another one. PostgreSQL finds its own order."""
    return _OrderedJoin(left, right, on)


class _Unindexed(FunctionElement[Any]):
    """A column for which no index is used."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(_Unindexed)
def _as_it_is(element: _Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return compiled_arguments(element, compiler, options)[0]


@compiles(_Unindexed, "sqlite")
def _with_unary_plus(element: _Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{compiled_arguments(element, compiler, options)[0]}"


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column in a condition that is checked, and never finds rows in SQLite: without statistics
    it would use the wrong index. PostgreSQL has statistics.
    """
    return _Unindexed(column)


class _Row(FunctionElement[Any]):
    """Values that are compared in turn."""

    type = NullType()
    inherit_cache = True


@compiles(_Row)
def _in_brackets(element: _Row, compiler: SQLCompiler, **options: Any) -> str:
    return f"({', '.join(compiled_arguments(element, compiler, options))})"


def row_of(values: Iterable[ColumnElement[Any]]) -> ColumnElement[Any]:
    """Columns or values that are compared in turn: the second if the first are equal, and so on."""
    return _Row(*values)


def row_id(table: Table, dialect: str) -> ColumnElement[Any]:
    """What finds a row again: in SQLite, where the id is in an index, its number is quicker."""
    return literal_column(f"{table.name}.rowid", BigInteger) if dialect == SQLITE else table.c.id


def row_estimate(table: Table, dialect: str) -> ColumnElement[int]:
    """Roughly how many rows a table has, without counting them; 0 or less: not known."""
    if dialect == SQLITE:
        counted = f"(SELECT coalesce(max(rowid), 0) FROM {table.name})"  # noqa: S608 - the name of a table
        return literal_column(counted, BigInteger)
    return literal_column(
        f"(SELECT reltuples::bigint FROM pg_class WHERE oid = '{table.name}'::regclass)",  # noqa: S608 - the name of a table
        BigInteger,
    )
