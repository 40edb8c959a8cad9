"""Statements that are compiled once, and not each time that they are executed.

SQLAlchemy finds a compiled statement in its cache, and then spends fifteen times as long as SQLite
on everything around it: parameters, events, an execution context, rows with names. For the few
statements of each show and list that is a third of the whole request. So these are compiled here,
and given to SQLite's driver with their parameters in order. PostgreSQL's errors must pass through
SQLAlchemy, which then closes a broken connection; there it executes them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Select

SQLITE = "sqlite"

Processor = Callable[[Any], Any]
AnySelect = Select[*tuple[Any, ...]]


class PreparedSelect:
    """A statement that reads, with named parameters."""

    def __init__(self, statement: AnySelect) -> None:
        self.statement = statement
        self._compiled: _Compiled | None = None

    def rows(
        self, db: Connection, values: Mapping[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        """Execute it in the transaction of the connection, and return all rows.

        A row has the values of the columns in the order of the statement, and no names.
        """
        with closing(self.iterate(db, values)) as found:
            return list(found)

    def iterate(
        self, db: Connection, values: Mapping[str, Any] | None = None
    ) -> Generator[Sequence[Any]]:
        """Execute it, and read each row when it is asked for. Close it if not all were read."""
        if db.dialect.name != SQLITE:
            yield from db.execute(self.statement, dict(values or {}))
            return
        if self._compiled is None:
            self._compiled = _compile(self.statement, db.dialect)
        yield from self._compiled.iterate(db, values or {})


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    parameters: Sequence[tuple[str, Any, Processor | None]]  # name, value if none is given
    processed: Sequence[tuple[int, Processor]]  # the columns whose values are converted

    def iterate(self, db: Connection, values: Mapping[str, Any]) -> Generator[Sequence[Any]]:
        raw: Any = db.connection.dbapi_connection
        given = [
            processor(value) if processor else value
            for value, processor in (
                (values.get(name, default), processor)
                for name, default, processor in self.parameters
            )
        ]
        with closing(raw.execute(self.sql, given)) as cursor:
            for found in cursor:
                row = list(found)
                for column, processor in self.processed:
                    row[column] = processor(row[column])
                yield row


def _compile(statement: AnySelect, dialect: Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    converted = {
        name: found
        for name, parameter in compiled.binds.items()
        if (found := parameter.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }
    types = [column.type.dialect_impl(dialect) for column in statement.selected_columns]
    processors = [kind.result_processor(dialect, None) for kind in types]
    return _Compiled(
        compiled.string,
        [
            # Literals of a list have the name of their parameter, and a number behind it.
            (name, value, converted.get(name) or converted.get(name.rpartition("_")[0]))
            for name, value in ((name, compiled.params[name]) for name in compiled.positiontup)
        ],
        [(column, found) for column, found in enumerate(processors) if found is not None],
    )
