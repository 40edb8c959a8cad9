"""Pages of a list with a limit in bytes, so that memory is bounded while rows are read.

SQLite fetches as many rows as it is asked for, so a few at a time are fetched until the limit.
PostgreSQL's driver fetches the whole result of a statement, so there the statement adds up the
bytes and returns at most one row beyond the limit.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    String,
    bindparam,
    cast,
    func,
    or_,
    select,
)

from imaged.catalogs import image_rows, image_select
from imaged.catalogs.rows import AnyRow
from imaged.catalogs.tables import images
from imaged.core.query import LISTED_BASE_BYTES, ImagePage, ImageQuery

SQLITE = "sqlite"
MIN_ROWS = 2  # rows that are always read
FETCHED_ROWS = 8  # rows fetched at once: one by one takes a sixth longer for a page of 25


def list_page(db: Connection, query: ImageQuery, max_bytes: int) -> ImagePage:
    """Read the beginning of the page up to this many bytes, and at least one image."""
    dialect, rows, total_bytes = db.dialect.name, list[AnyRow](), 0
    values = {} if dialect == SQLITE else {"most_bytes": max_bytes}
    with db.execute(statement(query, dialect), values) as found:
        for row in chain.from_iterable(found.partitions(FETCHED_ROWS)):
            total_bytes += row.listed_bytes
            if rows and total_bytes > max_bytes:
                return ImagePage(image_rows.load_images(db, rows), is_cut=True)
            rows.append(row)
    return ImagePage(image_rows.load_images(db, rows))


def statement(query: ImageQuery, dialect: str) -> Select[*tuple[Any, ...]]:
    """The statement for the rows, each with its ``listed_bytes``.

    Clients request the same first pages again and again, and building a statement takes as long as
    executing it; so these are cached.
    """
    return _cached(query, dialect) if image_select.is_cacheable(query) else _build(query, dialect)


@lru_cache(maxsize=image_select.CACHED_STATEMENTS)
def _cached(query: ImageQuery, dialect: str) -> Select[*tuple[Any, ...]]:
    return _build(query, dialect)


def _build(query: ImageQuery, dialect: str) -> Select[*tuple[Any, ...]]:
    size = (
        LISTED_BASE_BYTES + _octets(images.c.tags, dialect) + _octets(images.c.properties, dialect)
    )
    sized = image_select.page(query).add_columns(size.label("listed_bytes"))
    if dialect == SQLITE:
        return sized
    row = sized.subquery()
    order = image_select.order_clauses(query, row.c)
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
