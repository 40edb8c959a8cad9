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

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache, lru_cache, partial
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
from imaged.catalogs.image_places import with_places
from imaged.catalogs.list_marker import MARKER_ID
from imaged.catalogs.list_samples import ListSamples
from imaged.catalogs.list_shapes import ListShape, is_bounded, shape_of
from imaged.catalogs.list_statements import Drivers, RunStatements, in_order
from imaged.catalogs.prepared import AnySelect, PreparedSelect
from imaged.catalogs.tables import images
from imaged.core.errors import ImageNotFound
from imaged.core.list_plan import conditions_of_order
from imaged.core.list_runs import Run, marked_run, read_page, single_run
from imaged.core.query import (
    LISTED_BASE_BYTES,
    ImagePage,
    ImageQuery,
    Order,
    Value,
    behind_marker,
    total_order,
)

CACHED_SHAPES = 128  # of lists; each has at most a few statements
MIN_ROWS = 2  # rows that are always read
LISTED_BYTES = image_rows.WIDTH  # the column behind those of ``READ``


def list_page(db: Connection, query: ImageQuery, max_bytes: int) -> ImagePage:
    """Read the beginning of the page up to this many bytes, and at least one image."""
    run = _whole_run(query)
    if run is None and query.after_id is not None:
        behind = _behind_marker(db, query)
        return ImagePage([]) if behind is None else list_page(db, behind, max_bytes)
    if run is None and (few := _page_of_few(db, query, max_bytes)) is not None:
        return few
    if run is None:
        conditions = conditions_of_order(query)
        first = partial(_first_of_run, db, query)
        ids = read_page(query.order, conditions, query.after, query.limit, first)
        page = _page_of_these(query.order, db.dialect.name)
        return _read(db, page, {"these": list(ids)}, max_bytes)
    statements, values = statements_of(query, run, db.dialect.name)
    if statements.run.is_empty:
        return ImagePage([])
    page = statements.page(statements.samples.choose_drivers(db, values))
    return _read(db, page, values, max_bytes)


def _page_of_few(db: Connection, query: ImageQuery, max_bytes: int) -> ImagePage | None:
    """The page of a list that is read status by status, if a filter has few images: sorting all of
    them costs less than looking for each status among them.
    """
    run = single_run(query.order, query.conditions, query.after)
    if run is None:
        return None
    statements, values = statements_of(query, run, db.dialect.name)
    if statements.run.is_empty or not statements.run.terms.filters:
        return None
    drivers = statements.samples.rarest(db, values)
    return None if None in drivers else _read(db, statements.page(drivers), values, max_bytes)


def is_single(query: ImageQuery) -> bool:
    """Whether a page is read by one statement, besides those that count."""
    return _whole_run(query) is not None


def _whole_run(query: ImageQuery) -> Run | None:
    """The run that is the whole list; None if it takes several, or its marker has to be read."""
    conditions = conditions_of_order(query)
    if query.after_id is None:
        return single_run(query.order, conditions, query.after)
    run = marked_run(query.order, conditions)
    return None if run is None or is_bounded(run, query) else run


def _behind_marker(db: Connection, query: ImageQuery) -> ImageQuery | None:
    with suppress(ImageNotFound):
        return behind_marker(query, image_rows.read(db, str(query.after_id)))
    return None


class ListStatements:
    """The statements for a run of a list."""

    def __init__(self, query: ImageQuery, run: Run, dialect: str) -> None:
        self.run = RunStatements(query, run, query.limit, dialect)
        self.samples = ListSamples(self.run)
        self._query, self._dialect = query, dialect
        self._pages: dict[Drivers, PreparedSelect] = {}
        self._firsts: dict[Drivers, PreparedSelect] = {}

    def page(self, drivers: Drivers) -> PreparedSelect:
        """The statement for the rows, each with its ``listed_bytes``, if the run is the list."""
        if drivers not in self._pages:
            if self.run.is_in_order(drivers):
                rows = image_rows.READ.where(*self.run.clauses_in_order(drivers))
            else:
                rows = image_rows.READ.where(images.c.id.in_(self.run.ids(drivers)))
            order = self._query.order
            rows = rows.order_by(*_order(order)).limit(self._query.limit)
            self._pages[drivers] = PreparedSelect(_sized(rows, order, self._dialect))
        return self._pages[drivers]

    def first(self, drivers: Drivers) -> PreparedSelect:
        """The statement for the ids of the first images, each with its value of the key."""
        if drivers not in self._firsts:
            found = (
                select(images.c.id, images.c[self.run.run.key.column])
                .where(images.c.id.in_(self.run.ids(drivers)))
                .order_by(*self.run.order)
                .limit(self._query.limit)
            )
            self._firsts[drivers] = PreparedSelect(found)
        return self._firsts[drivers]


def statements_of(
    query: ImageQuery, run: Run, dialect: str
) -> tuple[ListStatements, Mapping[str, Any]]:
    """The statements for a run, and the values of their parameters.

    Clients request lists of the same shapes again and again, and building and compiling statements
    takes longer than executing them; so these are cached.
    """
    marker = {} if query.after_id is None else {MARKER_ID: query.after_id}
    shape = shape_of(query, run)
    if shape is None:
        return ListStatements(query, run, dialect), marker
    return _cached(shape[0], dialect), {**shape[1], **marker}


@lru_cache(maxsize=CACHED_SHAPES)
def _cached(shape: ListShape, dialect: str) -> ListStatements:
    return ListStatements(shape.query, shape.run, dialect)


def _first_of_run(
    db: Connection, query: ImageQuery, run: Run, limit: int
) -> Sequence[tuple[str, Value]]:
    statements, values = statements_of(query, run, db.dialect.name)
    if statements.run.is_empty:
        return ()
    first = statements.first(statements.samples.choose_drivers(db, values))
    return [(image_id, value) for image_id, value in first.rows(db, values)[:limit]]


def _read(
    db: Connection, statement: PreparedSelect, values: Mapping[str, Any], max_bytes: int
) -> ImagePage:
    rows, total_bytes, is_cut = list[Sequence[Any]](), 0, False
    is_sqlite = db.dialect.name == SQLITE
    if not is_sqlite:
        values = {**values, "most_bytes": max_bytes}
    with closing(statement.iterate(db, values)) as found:
        for row in found:
            total_bytes += row[LISTED_BYTES]
            is_cut = bool(rows) and total_bytes > max_bytes
            if is_cut:
                break
            rows.append(row)
    load = image_rows.load_images if is_sqlite else image_rows.load_placed_images
    return ImagePage(load(db, rows), is_cut=is_cut)


@cache
def _page_of_these(order: tuple[Order, ...], dialect: str) -> PreparedSelect:
    rows = image_rows.READ.where(is_any_of(images.c.id, "these")).order_by(*_order(order))
    return PreparedSelect(_sized(rows, order, dialect))


def _sized(rows: AnySelect, keys: Sequence[Order], dialect: str) -> AnySelect:
    size = (
        LISTED_BASE_BYTES + _octets(images.c.tags, dialect) + _octets(images.c.properties, dialect)
    )
    sized = rows.add_columns(size.label("listed_bytes"))
    if dialect == SQLITE:
        return sized
    row = sized.subquery()
    order = _order(keys, row.c)
    running = func.sum(row.c.listed_bytes).over(order_by=order, rows=(None, 0))
    number = func.row_number().over(order_by=order)
    added = select(row, running.label("running_bytes"), number.label("number")).subquery()
    before = added.c.running_bytes - added.c.listed_bytes
    # The first is always taken, and the one beyond the limit tells that more follow.
    is_read = or_(
        before <= bindparam("most_bytes", None, type_=BigInteger), added.c.number <= MIN_ROWS
    )
    read: AnySelect = select(added).where(is_read).order_by(added.c.number)
    return with_places(read, added)


def _octets(column: ColumnElement[Any], dialect: str) -> ColumnElement[int]:
    """An upper bound of the length of a JSON column, in bytes."""
    if dialect == SQLITE:
        return func.length(cast(column, LargeBinary), type_=Integer)
    return func.octet_length(cast(column, String), type_=Integer)


def _order(
    keys: Sequence[Order], columns: ReadOnlyColumnCollection[str, Any] = images.c
) -> list[UnaryExpression[Any]]:
    """The order of a list, over the table or a subquery."""
    return [
        in_order(columns[key.column], key.column, descending=key.descending)
        for key in total_order(keys)
    ]
