"""Pages of a list of images: ``core/query`` in SQL.

Strategy. A page begins behind the last image of the previous page (by its keys, never by a count),
so the three-hundredth page costs as much as the first. ``list_statements.py`` finds the images, and
this module reads them.

A page has a limit in bytes, so that memory is bounded while rows are read. SQLite fetches as many
rows as it is asked for, so a few at a time are fetched until the limit. PostgreSQL's driver fetches
the whole result of a statement, so there the statement adds up the bytes and returns at most one
row beyond the limit.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    String,
    UnaryExpression,
    bindparam,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from imaged.catalogs import image_rows
from imaged.catalogs.dialects import SQLITE, is_any_of
from imaged.catalogs.list_samples import ListSamples
from imaged.catalogs.list_statements import Drivers, RunStatements, in_order
from imaged.catalogs.prepared import AnySelect, PreparedSelect
from imaged.catalogs.tables import images
from imaged.core.list_plan import conditions_of_order
from imaged.core.list_runs import Run, read_page, single_run
from imaged.core.query import LISTED_BASE_BYTES, ImagePage, ImageQuery, Value, total_order

CACHED_STATEMENTS = 64  # of first pages
MAX_CACHED_CONDITIONS = 4  # filters
MIN_ROWS = 2  # rows that are always read
FETCHED_ROWS = 4  # rows fetched at once: one by one takes a sixth longer for a page of 25
LISTED_BYTES = image_rows.WIDTH  # the column behind those of ``READ``


def list_page(db: Connection, query: ImageQuery, max_bytes: int) -> ImagePage:
    """Read the beginning of the page up to this many bytes, and at least one image."""
    conditions = conditions_of_order(query)
    run = single_run(query.order, conditions, query.after)
    if run is None:
        first = partial(_first_of_run, db, query)
        ids = read_page(query.order, conditions, query.after, query.limit, first)
        return _read(db, _page_of_these(query, db.dialect.name), {"these": list(ids)}, max_bytes)
    statements = statements_of(query, run, db.dialect.name)
    if statements.run.is_empty:
        return ImagePage([])
    page = statements.page(statements.samples.choose_drivers(db))
    return _read(db, page if _is_cacheable(query) else page.statement, {}, max_bytes)


class ListStatements:
    """The statements for the page of a list that is one run."""

    def __init__(self, query: ImageQuery, run: Run, dialect: str) -> None:
        self.run = RunStatements(query, run, query.limit, dialect)
        self.samples = ListSamples(self.run)
        self._query, self._dialect = query, dialect
        self._pages: dict[Drivers, PreparedSelect] = {}

    def page(self, drivers: Drivers) -> PreparedSelect:
        """The statement for the rows, each with its ``listed_bytes``."""
        if drivers not in self._pages:
            if self.run.is_in_order(drivers):
                rows = image_rows.READ.where(*self.run.clauses_in_order(drivers))
            else:
                rows = image_rows.READ.where(images.c.id.in_(self.run.ids(drivers)))
            rows = rows.order_by(*_order(self._query)).limit(self._query.limit)
            self._pages[drivers] = PreparedSelect(_sized(rows, self._query, self._dialect))
        return self._pages[drivers]


def statements_of(query: ImageQuery, run: Run, dialect: str) -> ListStatements:
    """The statements for a page.

    Clients request the same first pages again and again, and building a statement takes as long as
    executing it; so these are cached.
    """
    make = _cached if _is_cacheable(query) else ListStatements
    return make(query, run, dialect)


def _is_cacheable(query: ImageQuery) -> bool:
    """A first page with few and simple filters: the cache stays small whatever the requests."""
    if (
        query.after is not None
        or query.tags
        or query.properties
        or len(query.conditions) > MAX_CACHED_CONDITIONS
    ):
        return False
    return not any(isinstance(condition.value, tuple) for condition in query.conditions)


@lru_cache(maxsize=CACHED_STATEMENTS)
def _cached(query: ImageQuery, run: Run, dialect: str) -> ListStatements:
    return ListStatements(query, run, dialect)


def _first_of_run(
    db: Connection, query: ImageQuery, run: Run, limit: int
) -> Sequence[tuple[str, Value]]:
    statements = RunStatements(query, run, limit, db.dialect.name)
    if statements.is_empty:
        return ()
    ids = statements.ids(ListSamples(statements).choose_drivers(db))
    found = (
        select(images.c.id, images.c[run.key.column].label("key_value"))
        .where(images.c.id.in_(ids))
        .order_by(*statements.order)
        .limit(limit)
    )
    return [(row.id, row.key_value) for row in db.execute(found)]


def _iterate(
    db: Connection, statement: AnySelect | PreparedSelect, values: dict[str, Any]
) -> Generator[Sequence[Any]]:
    if isinstance(statement, PreparedSelect):
        yield from statement.iterate(db, values)
        return
    with db.execute(statement, values) as found:
        yield from chain.from_iterable(found.partitions(FETCHED_ROWS))


def _read(
    db: Connection, statement: AnySelect | PreparedSelect, values: dict[str, Any], max_bytes: int
) -> ImagePage:
    rows, total_bytes = list[Sequence[Any]](), 0
    if db.dialect.name != SQLITE:
        values = {**values, "most_bytes": max_bytes}
    with closing(_iterate(db, statement, values)) as found:
        for row in found:
            total_bytes += row[LISTED_BYTES]
            if rows and total_bytes > max_bytes:
                return ImagePage(image_rows.load_images(db, rows), is_cut=True)
            rows.append(row)
    return ImagePage(image_rows.load_images(db, rows))


def _page_of_these(query: ImageQuery, dialect: str) -> AnySelect:
    rows = image_rows.READ.where(is_any_of(images.c.id, "these")).order_by(*_order(query))
    return _sized(rows, query, dialect)


def _sized(rows: AnySelect, query: ImageQuery, dialect: str) -> AnySelect:
    size = (
        LISTED_BASE_BYTES + _octets(images.c.tags, dialect) + _octets(images.c.properties, dialect)
    )
    sized = rows.add_columns(size.label("listed_bytes"))
    if dialect == SQLITE:
        return sized
    row = sized.subquery()
    order = _order(query, row.c)
    running = func.sum(row.c.listed_bytes).over(order_by=order, rows=(None, 0))
    number = func.row_number().over(order_by=order)
    added = select(row, running.label("running_bytes"), number.label("number")).subquery()
    before = added.c.running_bytes - added.c.listed_bytes
    # The first is always taken, and the one beyond the limit tells that more follow.
    is_read = or_(before <= bindparam("most_bytes", type_=BigInteger), added.c.number <= MIN_ROWS)
    return select(added).where(is_read).order_by(added.c.number)


def _octets(column: ColumnElement[Any], dialect: str) -> ColumnElement[int]:
    """An upper bound of the length of a JSON column, in bytes."""
    if dialect == SQLITE:
        return func.length(cast(column, LargeBinary), type_=Integer)
    return func.octet_length(cast(column, String), type_=Integer)


def _order(
    query: ImageQuery, columns: ReadOnlyColumnCollection[str, Any] = images.c
) -> list[UnaryExpression[Any]]:
    """The order of a list, over the table or a subquery."""
    return [
        in_order(columns[key.column], key.column, descending=key.descending)
        for key in total_order(query.order)
    ]
