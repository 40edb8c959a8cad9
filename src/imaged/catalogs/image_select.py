"""The statement behind a list of images: ``core/query`` in SQL.

Strategy. A page begins behind the last image of the previous page (by its keys, never by a count),
so the three-hundredth page costs as much as the first. Visibility is an OR, and no index follows an
OR in order: so each of its branches selects its own first images, in order and by its own index,
and the page is taken from those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    UnaryExpression,
    and_,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from imaged.catalogs import image_rows
from imaged.catalogs.tables import image_properties, image_tags, images, value_prefix
from imaged.core.access import Caller
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import GONE
from imaged.core.query import (
    Condition,
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

Clause = ColumnElement[bool]

COMPARE: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: eq,
    Operator.NOT_EQUAL: ne,
    Operator.GREATER: gt,
    Operator.GREATER_OR_EQUAL: ge,
    Operator.LESS: lt,
    Operator.LESS_OR_EQUAL: le,
}


def is_cacheable(query: ImageQuery) -> bool:
    """A first page with few and simple filters: the cache stays small whatever the requests."""
    if (
        query.after is not None
        or query.tags
        or query.properties
        or len(query.conditions) > MAX_CACHED_CONDITIONS
    ):
        return False
    return not any(isinstance(condition.value, tuple) for condition in query.conditions)


def page(query: ImageQuery) -> Select[*tuple[Any, ...]]:
    """The statement for the rows of a page."""
    wanted = _wanted(query)
    parts = _visible_parts(query)
    if len(parts) == 1 or query.tags or query.properties:  # those have an index of their own
        return _first(image_rows.READ.where(or_(*parts), *wanted), query)
    firsts = [_first(select(images.c.id).where(part, *wanted), query).subquery() for part in parts]
    found = union(*[select(first.c.id) for first in firsts])
    return _first(image_rows.READ.where(images.c.id.in_(found)), query)


def _visible_parts(query: ImageQuery) -> list[Clause]:
    """What the caller may see, as branches that an index can follow each."""
    caller = query.caller
    if caller is None:
        return [true()]
    shown = and_(images.c.status.not_in(sorted(GONE)), ~images.c.draft)
    with_community = query.any_visibility or query.visibility is Visibility.COMMUNITY
    if caller.is_admin:
        return [and_(shown, true() if with_community else _not_of_others(caller))]
    parts = [images.c.owner == caller.project, images.c.visibility == Visibility.PUBLIC]
    if with_community:
        parts.append(images.c.visibility == Visibility.COMMUNITY)
    return [and_(part, shown) for part in parts]


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
    held: Clause = COMPARE[condition.operator](column, value)
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
    return statement.order_by(*order_clauses(query)).limit(query.limit)


def order_clauses(
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
