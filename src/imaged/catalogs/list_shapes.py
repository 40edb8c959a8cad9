"""What the statements of a list depend on, without the values that clients choose freely.

Lists of one shape have the same statements, whose values are parameters: so they are compiled once,
also for a page behind any image, and for any tag or name. A value that decides how a list is read,
such as a status, is part of the shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from imaged.catalogs.list_terms import PREFIX_LENGTH, Slot, storable
from imaged.core.access import Caller
from imaged.core.list_plan import implied_by_times
from imaged.core.list_runs import Marked, Run
from imaged.core.query import Column, Condition, ImageQuery, Operator, Value

MAX_CONDITIONS = 8  # filters: with more, a list is too rare for its statements to be kept
MAX_CHOICES = 8  # values of one filter

#: Columns whose values do not decide how a list is read.
FREE = frozenset(
    {
        *(Column.ID, Column.NAME, Column.SIZE, Column.VIRTUAL_SIZE, Column.CHECKSUM),
        *(Column.HASH_VALUE, Column.MIN_RAM, Column.MIN_DISK),
        *(Column.CREATED_AT, Column.UPDATED_AT),
    }
)
#: Columns with few different values, of which a filter may name several.
FEW_VALUES = frozenset({Column.STATUS, Column.DISK_FORMAT, Column.CONTAINER_FORMAT})


@dataclass(frozen=True, slots=True)
class ListShape:
    """The part of a query and of its run that statements are made for."""

    query: ImageQuery
    run: Run


def shape_of(query: ImageQuery, run: Run) -> tuple[ListShape, Mapping[str, Any]] | None:
    """The shape of a run of a list, and the values of its parameters; None if it has none."""
    count = len(query.conditions) + len(query.tags) + len(query.properties)
    if count > MAX_CONDITIONS or not all(map(_has_few_choices, query.conditions)):
        return None
    if run.start is not None and is_bounded(run, query):
        return None  # the bound and the place where the page begins are compared
    values = _Values()
    shaped = replace(
        query,
        after=None,
        after_id=None,
        caller=_shaped_caller(query, values),
        conditions=tuple(_shaped_condition(one, values) for one in query.conditions),
        tags=tuple(values.slot_for(tag) for tag in sorted(set(query.tags))),
        properties=tuple(
            (values.slot_for(name), values.slot_for(value))
            if len(value) < PREFIX_LENGTH
            else (name, value)
            for name, value in sorted(set(query.properties))
        ),
    )
    equal = tuple(
        (name, values.slot_for(storable(value)) if _is_free(name, value) else value)
        for name, value in run.equal
    )
    start = run.start and tuple(
        value if value is None or isinstance(value, Marked) else values.slot_for(storable(value))
        for value in run.start
    )
    return ListShape(shaped, Run(run.key, equal, start)), values.given


class _Values:
    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def slot_for(self, value: Value) -> Any:
        """A slot for this value: for types it is the value itself."""
        slot = Slot(f"v{len(self.given)}")
        self.given[slot.name] = value
        return slot


def _is_free(column: Column, value: object) -> bool:
    return column in FREE and value is not None and not isinstance(value, tuple)


def _has_few_choices(condition: Condition) -> bool:
    if not isinstance(condition.value, tuple):
        return True
    return condition.column in FEW_VALUES and len(condition.value) <= MAX_CHOICES


def is_bounded(run: Run, query: ImageQuery) -> bool:
    """Whether conditions say where the run begins or ends."""
    key = run.key.column
    implied = implied_by_times(key, query.conditions)
    return bool(implied) or any(one.column is key for one in query.conditions)


def _shaped_condition(condition: Condition, values: _Values) -> Condition:
    if not _is_free(condition.column, condition.value):
        return condition
    value = storable(cast("Value", condition.value))
    return replace(condition, value=values.slot_for(value))


def _shaped_caller(query: ImageQuery, values: _Values) -> Caller | None:
    """The caller without name; and without project, unless that is compared with an owner."""
    caller = query.caller
    if caller is None:
        return None
    project: Any = caller.project
    is_compared = any(
        one.column is Column.OWNER and one.operator is Operator.EQUAL for one in query.conditions
    )
    if project and not is_compared:
        project = values.slot_for(project)
    return Caller("", project, frozenset({"admin"} if caller.is_admin else ()))
