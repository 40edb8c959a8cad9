"""Statements that are compiled once, and not each time that they are executed.

SQLAlchemy finds a compiled statement in its cache, and then spends fifteen times as long as SQLite
on everything around it: parameters, events, an execution context, rows with names. For the few
statements of each show and list that is a third of the whole request. So these are compiled here,
and given to the driver with their parameters in order. In a transaction of PostgreSQL SQLAlchemy
executes them, because errors must pass through it, which then closes a broken connection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Dialect, Select

from imaged.catalogs.single_read import SingleRead

SQLITE = "sqlite"

Processor = Callable[[Any], Any]
AnySelect = Select[*tuple[Any, ...]]
AnyCompound = CompoundSelect[*tuple[Any, ...]]


class PreparedSelect:
    """A statement that reads, with named parameters.

    ``only_estimates``: what it finds need not be of the same state as what is read after it.
    """

    def __init__(self, statement: AnySelect | AnyCompound, *, only_estimates: bool = False) -> None:
        self.statement = statement
        self._only_estimates = only_estimates
        self._compiled: dict[str, _Compiled] = {}  # by the name of the dialect

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
        if isinstance(db, SingleRead):
            compiled = self._compile(db.dialect)
            given = compiled.parameters_of(values or {})
            found = db.fetch(compiled.sql, given, only_estimates=self._only_estimates)
            yield from map(compiled.converted, found)
        elif db.dialect.name == SQLITE:
            yield from self._compile(db.dialect).iterate(db, values or {})
        else:
            yield from db.execute(self.statement, dict(values or {}))

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(self.statement, dialect)
        return compiled


@dataclass(frozen=True, slots=True)
class _Compiled:
    sql: str
    parameters: Sequence[tuple[str, Any, Processor | None]]  # name, value if none is given
    processed: Sequence[tuple[int, Processor]]  # the columns whose values are converted

    def parameters_of(self, values: Mapping[str, Any]) -> list[Any]:
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

    def iterate(self, db: Connection, values: Mapping[str, Any]) -> Generator[Sequence[Any]]:
        raw: Any = db.connection.dbapi_connection
        with closing(raw.execute(self.sql, self.parameters_of(values))) as cursor:
            yield from map(self.converted, cursor)


def _compile(statement: AnySelect | AnyCompound, dialect: Dialect) -> _Compiled:
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
