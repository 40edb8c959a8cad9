"""Pages of a list of images: ``core/query`` in SQL.

Strategy. A page begins behind the last image of the previous page (by its keys, never by a count),
so the three-hundredth page costs as much as the first. Visibility is an OR, and no index follows an
OR in order: so each of its branches selects its own first images, in order and by its own index,
and the page is taken from those. Images shared with the caller are the exception: no index has them
in order, and a planner that is told of an order and a limit looks for them among all images.

A page has a limit in bytes, so that memory is bounded while rows are read. SQLite fetches as many
rows as it is asked for, so a few at a time are fetched until the limit. PostgreSQL's driver fetches
the whole result of a statement, so there the statement adds up the bytes and returns at most one
row beyond the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    UnaryExpression,
    and_,
    bindparam,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from imaged.catalogs import image_members, image_rows
from imaged.catalogs.rows import AnyRow
from imaged.catalogs.tables import image_properties, image_tags, images, value_prefix
from imaged.core.access import Caller
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import GONE
from imaged.core.query import (
    COMPARISONS,
    LISTED_BASE_BYTES,
    Condition,
    ImagePage,
    ImageQuery,
    Operator,
    Order,
    Value,
    column_value,
    total_order,
)

MAX_INTEGER = 2**63 - 1  # no column has a larger number
CACHED_STATEMENTS = 64  # statements of first pages
MAX_CACHED_CONDITIONS = 4  # filters
SQLITE = "sqlite"
MIN_ROWS = 2  # rows that are always read
FETCHED_ROWS = 4  # rows fetched at once: one by one takes a sixth longer for a page of 25

Clause = ColumnElement[bool]

_SHOWN = and_(images.c.status.not_in(sorted(GONE)), ~images.c.draft)


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
    return _cached(query, dialect) if _is_cacheable(query) else _build(query, dialect)


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
def _cached(query: ImageQuery, dialect: str) -> Select[*tuple[Any, ...]]:
    return _build(query, dialect)


def _build(query: ImageQuery, dialect: str) -> Select[*tuple[Any, ...]]:
    size = (
        LISTED_BASE_BYTES + _octets(images.c.tags, dialect) + _octets(images.c.properties, dialect)
    )
    sized = _rows_of_page(query).add_columns(size.label("listed_bytes"))
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


def _rows_of_page(query: ImageQuery) -> Select[*tuple[Any, ...]]:
    """The statement for the rows of a page."""
    wanted = _wanted(query)
    parts = _visible_parts(query)
    shared = _shared_with_caller(query)
    if shared is None:
        return _first(image_rows.READ.where(or_(*parts), *wanted), query)
    if query.tags or query.properties:  # those have an index of their own
        parts.append(images.c.id.in_(shared))
        return _first(image_rows.READ.where(or_(*parts), *wanted), query)
    firsts = [_first(select(images.c.id).where(part, *wanted), query).subquery() for part in parts]
    found = union(shared.where(*wanted), *[select(first.c.id) for first in firsts])
    return _first(image_rows.READ.where(images.c.id.in_(found)), query)


def _visible_parts(query: ImageQuery) -> list[Clause]:
    """What the caller may see, as branches that an index can follow each; without what is shared
    with the caller.
    """
    caller = query.caller
    if caller is None:
        return [true()]
    with_community = query.any_visibility or query.visibility is Visibility.COMMUNITY
    if caller.is_admin:
        return [and_(_SHOWN, true() if with_community else _not_of_others(caller))]
    parts = [images.c.visibility == Visibility.PUBLIC]
    if caller.project:
        parts.insert(0, images.c.owner == caller.project)
    if with_community:
        parts.append(images.c.visibility == Visibility.COMMUNITY)
    return [and_(part, _SHOWN) for part in parts]


def _shared_with_caller(query: ImageQuery) -> Select[str] | None:
    """The ids of images shared with the caller; None for a caller who sees all others too."""
    if query.caller is None or query.caller.is_admin:
        return None
    return image_members.shared_with(query.caller.project, query.member_status).where(_SHOWN)


def _not_of_others(caller: Caller) -> Clause:
    community = images.c.visibility == Visibility.COMMUNITY
    return or_(~community, images.c.owner == caller.project)


def _wanted(query: ImageQuery) -> list[Clause]:
    clauses = [_holds(condition) for condition in query.conditions]
    if query.visibility is not None:
        clauses.append(images.c.visibility == query.visibility)
    if query.tags:
        clauses.append(_has_all_tags(query.tags))
    if query.properties:
        clauses.append(_has_all_properties(query.properties))
    if query.after is not None:
        clauses.append(_comes_after(query.after, total_order(query.order)))
    return clauses


def _holds(condition: Condition) -> Clause:
    column = images.c[condition.column]
    if isinstance(condition.value, tuple):
        among = column.in_([_storable(value) for value in condition.value if value is not None])
        return or_(among, column.is_(None)) if None in condition.value else among
    if condition.value is None:
        return true() if condition.operator is Operator.NOT_EQUAL else false()
    value = literal(_storable(condition.value), column.type)
    held: Clause = COMPARISONS[condition.operator](column, value)
    if condition.operator is Operator.NOT_EQUAL and column.nullable:
        return or_(held, column.is_(None))
    return held


def _has_all_tags(tags: Sequence[str]) -> Clause:
    wanted = set(tags)
    found = select(image_tags.c.image_id).where(image_tags.c.tag.in_(sorted(wanted)))
    return _in_all(found, image_tags.c.image_id, len(wanted))


def _has_all_properties(properties: Sequence[tuple[str, str]]) -> Clause:
    wanted = set(properties)
    ways = [_is_property(name, value) for name, value in sorted(wanted)]
    found = select(image_properties.c.image_id).where(or_(*ways))
    return _in_all(found, image_properties.c.image_id, len(wanted))


def _is_property(name: str, value: str) -> Clause:
    return and_(
        image_properties.c.name == name,
        value_prefix == value[:64],
        image_properties.c.value == value,
    )


def _in_all(found: Select[Any], image_id: ColumnElement[str], count: int) -> Clause:
    """One subquery for all of them: an image is returned once if it has each one."""
    if count > 1:
        found = found.group_by(image_id).having(func.count() == count)
    return images.c.id.in_(found)


def _first(statement: Select[*tuple[Any, ...]], query: ImageQuery) -> Select[*tuple[Any, ...]]:
    return statement.order_by(*_order(query)).limit(query.limit)


def _order(
    query: ImageQuery, columns: ReadOnlyColumnCollection[str, Any] = images.c
) -> list[UnaryExpression[Any]]:
    """The order of a list, over the table or a subquery."""
    return [_sorted_by(key, columns) for key in total_order(query.order)]


def _sorted_by(key: Order, columns: ReadOnlyColumnCollection[str, Any]) -> UnaryExpression[Any]:
    column: ColumnElement[Any] = columns[key.column]
    expression = column.desc() if key.descending else column.asc()
    if not images.c[key.column].nullable:
        return expression
    return expression.nulls_last() if key.descending else expression.nulls_first()


def _comes_after(last: Image, order: Sequence[Order]) -> Clause:
    """Behind the last image: greater in the first key, or equal there and greater in the next, and
    so on.

    The condition on the first key alone comes first, because an index can follow it.
    """
    ways: list[Clause] = []
    equal: list[Clause] = []
    for key in order:
        value = column_value(last, key.column)
        ways.append(and_(*equal, _follows(key, value)))
        equal.append(images.c[key.column] == value)  # IS NULL, where there is no value
    return and_(_reaches(order[0], column_value(last, order[0].column)), or_(*ways))


def _follows(key: Order, value: Value) -> Clause:
    column = images.c[key.column]
    if value is None:
        return false() if key.descending else column.is_not(None)
    if key.descending:
        return or_(column < value, column.is_(None)) if column.nullable else column < value
    return column > value


def _reaches(key: Order, value: Value) -> Clause:
    column = images.c[key.column]
    if column.nullable:
        return true()
    return column <= value if key.descending else column >= value


def _storable(value: Value) -> Value:
    """The number, limited to the largest that a column can have."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-MAX_INTEGER, min(value, MAX_INTEGER))
    return value
