"""Statements that are compiled once, and not each time that they are executed.

SQLAlchemy finds a compiled statement in its cache, and then spends fifteen times as long as SQLite
on everything around it: parameters, events, an execution context, rows with names. For the few
statements of each show and list that is a third of the whole request; a new image has eight. So
these are compiled here, and given to the driver with their parameters in order. In a transaction of
PostgreSQL SQLAlchemy executes them, because errors must pass through it, which then closes a broken
connection.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CompoundSelect, Connection, Delete, Dialect, Insert, Select, Update

from imaged.catalogs.single_read import SingleRead

SQLITE = "sqlite"

Processor = Callable[[Any], Any]
AnySelect = Select[*tuple[Any, ...]]
AnyCompound = CompoundSelect[*tuple[Any, ...]]
AnyWrite = Insert | Update | Delete
Values = Mapping[str, Any]

MAX_COMPILED = 256  # of one statement, with different columns


class PreparedSelect:
    """A statement that reads, with named parameters.

    ``only_estimates``: what it finds need not be of the same state as what is read after it.
    """

    def __init__(self, statement: AnySelect | AnyCompound, *, only_estimates: bool = False) -> None:
        self.statement = statement
        self._only_estimates = only_estimates
        self._compiled: dict[str, _Compiled] = {}  # by the name of the dialect
        names = statement.selected_columns.keys()
        self._named = cast("Any", namedtuple)("Found", names, rename=True)  # noqa: PYI024 - no types

    def rows(self, db: Connection, values: Values | None = None) -> Sequence[Sequence[Any]]:
        """Execute it in the transaction of the connection, and return all rows.

        A row has the values of the columns in the order of the statement, and no names.
        """
        with closing(self.iterate(db, values)) as found:
            return list(found)

    def iterate(self, db: Connection, values: Values | None = None) -> Generator[Sequence[Any]]:
        """Execute it, and read each row when it is asked for. Close it if not all were read."""
        if isinstance(db, SingleRead):
            compiled = self._compile(db.dialect)
            given = compiled.parameters_of(values or {})
            found = db.fetch(compiled.sql, given, only_estimates=self._only_estimates)
            yield from map(compiled.converted, found)
        elif db.dialect.name == SQLITE:
            yield from self._compile(db.dialect).iterate(db, values or {})
        else:
            yield from db.execute(self.statement, dict(values or {}))

    def named_rows(self, db: Connection, values: Values | None = None) -> Sequence[Any]:
        """Execute it, and return all rows as tuples with the names of the columns."""
        return list(map(self._named._make, self.rows(db, values)))

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(self.statement, dialect)
        return compiled


class PreparedWrite:
    """A statement that writes the columns that its values name."""

    def __init__(self, statement: AnyWrite) -> None:
        self.statement = statement
        self._compiled: dict[tuple[str, ...], _Compiled] = {}  # by the names of the values

    def execute(self, db: Connection, values: Values) -> int:
        """Execute it, and return how many rows it wrote."""
        if db.dialect.name != SQLITE:
            return db.execute(self.statement, dict(values)).rowcount
        return self._compile(db.dialect, values).write(db, values)

    def execute_all(self, db: Connection, rows: Sequence[Values]) -> None:
        """Execute it for each of these, which have the same names."""
        if db.dialect.name != SQLITE:
            db.execute(self.statement, [dict(values) for values in rows])
            return
        for values in rows:
            self._compile(db.dialect, values).write(db, values)

    def _compile(self, dialect: Dialect, values: Values) -> _Compiled:
        """Compile it for SQLite."""
        names = tuple(values)
        compiled = self._compiled.get(names)
        if compiled is None:
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.clear()
            compiled = self._compiled[names] = _compile(self.statement, dialect, names)
        return compiled


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    parameters: Sequence[tuple[str, Any, Processor | None]]  # name, value if none is given
    processed: Sequence[tuple[int, Processor]]  # the columns whose values are converted

    def parameters_of(self, values: Values) -> list[Any]:
        """The values of the parameters, in order."""
        return [
            processor(value) if processor else value
            for value, processor in (
                (values.get(name, default), processor)
                for name, default, processor in self.parameters
            )
        ]

    def converted(self, found: Sequence[Any]) -> Sequence[Any]:
        """A row of the driver with the values that SQLAlchemy would return."""
        row = list(found)
        for column, processor in self.processed:
            row[column] = processor(row[column])
        return row

    def iterate(self, db: Connection, values: Values) -> Generator[Sequence[Any]]:
        raw: Any = db.connection.dbapi_connection
        with closing(raw.execute(self.sql, self.parameters_of(values))) as cursor:
            yield from map(self.converted, cursor)

    def write(self, db: Connection, values: Values) -> int:
        raw: Any = db.connection.dbapi_connection
        return int(raw.execute(self.sql, self.parameters_of(values)).rowcount)


def _compile(
    statement: AnySelect | AnyCompound | AnyWrite,
    dialect: Dialect,
    written: Sequence[str] | None = None,
) -> _Compiled:
    """``written``: the columns that are written, among other names."""
    compiled: Any = statement.compile(
        dialect=dialect, column_keys=written, compile_kwargs={"render_postcompile": True}
    )
    converted = {
        name: found
        for name, parameter in compiled.binds.items()
        if (found := parameter.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }
    columns = [] if isinstance(statement, AnyWrite) else list(statement.selected_columns)
    types = [column.type.dialect_impl(dialect) for column in columns]
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
