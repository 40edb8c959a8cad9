"""The conditions of lists of images, each with the index that finds its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    TextClause,
    and_,
    bindparam,
    false,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.types import TypeEngine

from imaged.catalogs.dialects import SQLITE
from imaged.catalogs.list_expressions import unindexed
from imaged.catalogs.tables import (
    image_members,
    image_properties,
    image_tags,
    images,
    value_prefix,
)
from imaged.core.access import Caller
from imaged.core.image import Visibility
from imaged.core.lifecycle import GONE
from imaged.core.list_runs import Run
from imaged.core.member import MemberStatus
from imaged.core.query import COMPARISONS, Column, Condition, ImageQuery, Operator, Value

MAX_INTEGER = 2**63 - 1  # no column has a larger number
MAX_ALTERNATIVES = 4  # values of one filter that are read in turn
PREFIX_LENGTH = 64  # of a property's value, in its index

Clause = ColumnElement[bool]

BOUNDS = frozenset(
    {Operator.LESS, Operator.LESS_OR_EQUAL, Operator.GREATER, Operator.GREATER_OR_EQUAL}
)

#: Columns with an index that has images of one value in the order of their creation.
ORDERED = frozenset(Column) - {
    *(Column.ID, Column.CREATED_AT, Column.VIRTUAL_SIZE, Column.CHECKSUM, Column.HASH_VALUE)
}


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands for a value that is given when the statement is executed."""

    name: str


_SHOWN = and_(unindexed(images.c.status).not_in(sorted(GONE)), ~unindexed(images.c.draft))


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A condition whose images an index finds."""

    table: Table
    found: Clause | TextClause  # of a row of the table
    holds: Clause  # the same of an image that was found in another way
    _: KW_ONLY
    is_ordered: bool = True  # the index has them in the order of their creation
    also: Clause | None = None  # of an image that was found, besides
    #: For one of several values: a term for each, because only theirs are in order.
    alternatives: tuple[Term, ...] = ()

    @property
    def image_id(self) -> ColumnElement[str]:
        """The id of the image of a row."""
        return self.table.c.id if self.table is images else self.table.c.image_id

    @property
    def created_at(self) -> ColumnElement[Any]:
        """When the image of a row was created."""
        return self.table.c.created_at if self.table is images else self.table.c.image_created_at


class ListTerms:
    """The conditions of a run of a list.

    ``branches``: the terms of which an image must meet one, so that the caller may see it; one
    branch without a term, if there is no choice. ``filters``: the terms that it must meet all.
    ``unindexed``: further conditions. ``of_key``: those on the key of the run.
    """

    def __init__(self, query: ImageQuery, run: Run, dialect: str) -> None:
        caller, key = query.caller, run.key.column
        self.branches: Sequence[Term | None] = [None]
        self.unindexed: list[Clause] = []
        self.of_key = [one for one in query.conditions if one.column is key]
        conditions = [one for one in query.conditions if one.column is not key]
        if query.visibility is not None:
            conditions.append(Condition(Column.VISIBILITY, Operator.EQUAL, query.visibility))
        if caller is not None:
            self.unindexed.append(_SHOWN)
            with_community = query.any_visibility or query.visibility is Visibility.COMMUNITY
            if not caller.is_admin:
                self.branches = _branches(query, caller.project, dialect)
            elif not with_community:
                self.unindexed.append(_not_of_others(caller))
        self.filters = [
            *(_tag_term(tag, dialect) for tag in dict.fromkeys(query.tags)),
            *(_property_term(*pair, dialect) for pair in dict.fromkeys(query.properties)),
            *(equal_term(name, value) for name, value in run.equal),
        ]
        conditions, ranges = _without_ranges(conditions)
        self.filters += [_range_term(one) for one in ranges]
        for condition in conditions:
            is_of_branches = condition.column is Column.VISIBILITY and self.branches != [None]
            term = None if is_of_branches else condition_term(condition)
            if term is None:
                column = unindexed(images.c[condition.column])
                self.unindexed.append(condition_clause(condition, column))
            else:
                self.filters.append(term)


#: Images that were changed before they were created: a clock was set back. There is hardly one.
REDATED = Term(images, text("images.updated_at < images.created_at"), true())


def condition_term(condition: Condition) -> Term | None:
    """The term of a comparison; None if it has no index, because most images meet it."""
    column = images.c[condition.column]
    is_equal = condition.operator is Operator.EQUAL
    holds = condition_clause(condition, unindexed(column))
    if condition.value is None or condition.operator is Operator.NOT_EQUAL:
        return None
    if condition.column in {Column.HIDDEN, Column.PROTECTED}:
        is_flagged = text(f"images.{condition.column}")  # as its index has it
        return Term(images, is_flagged, holds) if condition.value is True else None
    found = condition_clause(condition, column)
    is_ordered = is_equal and condition.column in ORDERED
    if isinstance(condition.value, tuple) and _are_walked(condition.column, condition.value):
        each = tuple(equal_term(condition.column, value) for value in set(condition.value))
        return Term(images, found, holds, alternatives=each)
    return Term(images, found, holds, is_ordered=is_ordered)


def _without_ranges(
    conditions: Sequence[Condition],
) -> tuple[list[Condition], list[list[Condition]]]:
    """Conditions, and those that are bounds of one column, which one index entry is between."""
    bounds: dict[Column, list[Condition]] = {}
    for one in conditions:
        if one.operator in BOUNDS and one.value is not None:
            bounds.setdefault(one.column, []).append(one)
    ranges = [those for those in bounds.values() if len(those) > 1]
    return [one for one in conditions if not any(one in those for those in ranges)], ranges


def _range_term(bounds: Sequence[Condition]) -> Term:
    """The term of images that have a value between bounds."""
    column = images.c[bounds[0].column]
    found = and_(*[condition_clause(one, column) for one in bounds])
    holds = and_(*[condition_clause(one, unindexed(column)) for one in bounds])
    return Term(images, found, holds, is_ordered=False)


def _are_walked(column: Column, values: tuple[Value, ...]) -> bool:
    return column in ORDERED and 0 < len(values) <= MAX_ALTERNATIVES


def equal_term(name: Column, value: Value) -> Term:
    """The term of images with this value of a column, or without any."""
    column = images.c[name]
    found: Clause
    holds: Clause
    if value is None:
        found, holds = column.is_(None), unindexed(column).is_(None)
    else:
        condition = Condition(name, Operator.EQUAL, value)
        found = condition_clause(condition, column)
        holds = condition_clause(condition, unindexed(column))
    return Term(images, found, holds, is_ordered=name in ORDERED)


def condition_clause(condition: Condition, column: ColumnElement[Any]) -> Clause:
    """A comparison in SQL."""
    value = condition.value
    if isinstance(value, tuple):
        among = column.in_(
            [column_literal(condition.column, one) for one in value if one is not None]
        )
        return or_(among, column.is_(None)) if None in value else among
    if value is None:
        return true() if condition.operator is Operator.NOT_EQUAL else false()
    held: Clause = COMPARISONS[condition.operator](column, column_literal(condition.column, value))
    if condition.operator is Operator.NOT_EQUAL and images.c[condition.column].nullable:
        return or_(held, column.is_(None))
    return held


def _branches(query: ImageQuery, project: str, dialect: str) -> Sequence[Term]:
    """The terms of which an image must meet one, so that a caller who is no admin may see it.

    No branch is there that the filters exclude.
    """
    visibility, owner = query.visibility, _wanted_owner(query)
    is_own = owner == project != ""
    found: list[Term] = []
    if project and owner in {None, project}:
        found.append(equal_term(Column.OWNER, project))
    if is_own or visibility is Visibility.PRIVATE:
        return found
    if visibility in {Visibility.PUBLIC, Visibility.COMMUNITY}:
        return [equal_term(Column.VISIBILITY, visibility)]
    if visibility is None:
        found.append(equal_term(Column.VISIBILITY, Visibility.PUBLIC))
        if query.any_visibility:
            found.append(equal_term(Column.VISIBILITY, Visibility.COMMUNITY))
    answers = [query.member_status] if query.member_status else list(MemberStatus)
    return [*found, *(_shared_term(project, answer, dialect) for answer in answers)]


def _not_of_others(caller: Caller) -> Clause:
    """Community images of other projects are not in a list that does not ask for them."""
    visibility, owner = unindexed(images.c.visibility), unindexed(images.c.owner)
    mine = column_literal(Column.OWNER, caller.project)
    return or_(visibility != Visibility.COMMUNITY, owner == mine)


def _wanted_owner(query: ImageQuery) -> object:
    for condition in query.conditions:
        if condition.column is Column.OWNER and condition.operator is Operator.EQUAL:
            return condition.value
    return None


def _tag_term(tag: str, dialect: str) -> Term:
    found = image_tags.c.tag == bound(tag, image_tags.c.tag.type)
    return Term(image_tags, found, _there_is(image_tags, dialect, found))


def _property_term(name: str, value: str, dialect: str) -> Term:
    """A value that is shorter than the prefix equals it: the row is not needed."""
    named = image_properties.c.name == bound(name, image_properties.c.name.type)
    its = bound(value, image_properties.c.value.type)
    valued = image_properties.c.value == its
    is_short = isinstance(value, Slot) or len(value) < PREFIX_LENGTH
    found = and_(named, value_prefix == (its if is_short else value[:PREFIX_LENGTH]))
    if not is_short:
        found = and_(found, valued)
    holds = _there_is(image_properties, dialect, named, valued)
    return Term(image_properties, found, holds)


def _shared_term(project: str, answer: MemberStatus, dialect: str) -> Term:
    is_ours = image_members.c.member_id == bound(project, image_members.c.member_id.type)
    found = and_(is_ours, image_members.c.status == answer)
    is_shared = unindexed(images.c.visibility) == Visibility.SHARED
    holds = and_(is_shared, _there_is(image_members, dialect, found))
    return Term(image_members, found, holds, also=is_shared)


def _there_is(table: Table, dialect: str, *conditions: Clause) -> Clause:
    """Whether an image has such a row. Without OFFSET, PostgreSQL may find all such rows first."""
    rows: Select[Any] = (
        select(literal_column("1"))
        .select_from(table)
        .where(table.c.image_id == images.c.id, *conditions)
        .correlate(images)
    )
    return (rows if dialect == SQLITE else rows.offset(0)).exists()


def column_literal(name: Column, value: Value) -> ColumnElement[Any]:
    """A value that is compared with a column."""
    return bound(storable(value), images.c[name].type)


def bound(value: Value | Slot, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """A value in a statement, or the parameter that stands for it."""
    if isinstance(value, Slot):
        return bindparam(value.name, None, type_=kind)
    return literal(value, kind)


def storable(value: Value) -> Value:
    """The number, limited to the largest that a column can have."""
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-MAX_INTEGER, min(value, MAX_INTEGER))
    return value
