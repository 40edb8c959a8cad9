"""Splits a list in any order into runs, each in the order of one column.

An index has the images in the order of one column, and equal ones by their creation. A list that
is sorted by several columns begins with the images in the order of the first; only where the page
ends within equal ones does the next column decide which of them are on it. So a page in any order
takes a few runs, each of which an index follows, and sorts nothing but the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from imaged.core.image import Image
from imaged.core.query import (
    Column,
    Condition,
    Operator,
    Order,
    Value,
    column_value,
    sort_key,
    total_order,
)

#: Columns for sorting without a value in some images.
NULLABLE = frozenset({Column.NAME, Column.DISK_FORMAT, Column.CONTAINER_FORMAT, Column.SIZE})


class Marked(Enum):
    """Stands for a value of the image behind which a page begins, if only its id is known."""

    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Run:
    """Images in the order of one column, and of ``ties`` where it is equal."""

    key: Order
    equal: tuple[tuple[Column, Value], ...] = ()  # of all images of the run
    #: The values of ``columns`` behind which it begins; only the first one: behind all equal ones.
    start: tuple[Value | Marked, ...] | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of its order, all in one direction."""
        return tuple(key.column for key in total_order((self.key,)))


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a run in which the column of the key has a value everywhere, or nowhere."""

    has_value: bool | None = None  # None: not decided, and need not be
    columns: tuple[Column, ...] = ()
    behind: tuple[Value | Marked, ...] = ()  # the values of these columns behind which it begins


#: The first images of a run, at most so many: the id of each, and its value of the key.
FirstOf = Callable[[Run, int], Sequence[tuple[str, Value]]]


def single_run(
    order: Sequence[Order], conditions: Sequence[Condition], after: Image | None
) -> Run | None:
    """The run that is the whole list; None if it takes several."""
    order = total_order(order)
    if not _is_plain(order) or _choices(order[0], conditions) is not None:
        return None
    return Run(order[0], start=None if after is None else _keys(after, order[0]))


def marked_run(order: Sequence[Order], conditions: Sequence[Condition]) -> Run | None:
    """The run behind an image of which only the id is known; None if its values decide how the
    list is read, because the column may have none or is compared.
    """
    run = single_run(order, conditions, None)
    if run is None or run.key.column in NULLABLE:
        return None
    if any(condition.column is run.key.column for condition in conditions):
        return None
    return Run(run.key, start=(Marked.VALUE,) * len(run.columns))


def read_page(
    order: Sequence[Order],
    conditions: Sequence[Condition],
    after: Image | None,
    limit: int,
    first: FirstOf,
) -> Sequence[str]:
    """The ids of the images of a page behind ``after``, in no particular order."""
    return _Reader(conditions, first).read(total_order(order), (), after, limit)


def segments(run: Run, *, has_value: bool | None = None) -> Sequence[Segment]:
    """The parts of a run that an index follows: comparing rows with nothing finds no row.

    ``has_value``: whether all images that are wanted have a value of the key, or none has one.
    """
    if run.key.column not in NULLABLE:
        return [Segment(None, run.columns[: len(run.start)], run.start) if run.start else Segment()]
    if run.start is None:
        return [Segment(has_value)]
    value, *rest = run.start
    found: list[Segment] = []
    if value is not None:
        found.append(
            Segment(has_value=True, columns=run.columns[: len(run.start)], behind=run.start)
        )
    elif rest:
        found.append(Segment(has_value=False, columns=run.columns[1:], behind=tuple(rest)))
    if (value is None) != run.key.descending:
        found.append(Segment(value is None))
    return [part for part in found if has_value is None or part.has_value == has_value]


def without_implied(run: Run, conditions: Sequence[Condition]) -> tuple[Run, Sequence[Condition]]:
    """The run and the conditions on its key without what the others imply.

    An index is entered at one place: behind the start of the run, or at a bound of the key.
    """
    if run.start is None or run.start[0] is None:
        return run, conditions
    strict, inclusive = (
        (Operator.LESS, Operator.LESS_OR_EQUAL)
        if run.key.descending
        else (Operator.GREATER, Operator.GREATER_OR_EQUAL)
    )
    kept: list[Condition] = []
    for condition in conditions:
        value, start = condition.value, run.start[0]
        if (
            condition.operator not in {strict, inclusive}
            or value is None
            or isinstance(value, tuple)
            or isinstance(start, Marked)
        ):
            kept.append(condition)
        elif _follows(run.key, value, start) or (value == start and condition.operator is strict):
            return Run(run.key, run.equal), conditions
    return run, kept


@dataclass(frozen=True, slots=True)
class _Reader:
    conditions: Sequence[Condition]
    first: FirstOf

    def read(
        self,
        order: Sequence[Order],
        equal: tuple[tuple[Column, Value], ...],
        after: Image | None,
        limit: int,
    ) -> list[str]:
        if limit == 0:
            return []
        key, rest = order[0], order[1:]
        choices = _choices(key, self.conditions)
        if choices is not None and rest:
            return self._read_choices(order, choices, equal, after, limit)
        if _is_plain(order):
            run = Run(key, equal, None if after is None else _keys(after, key))
            return [image_id for image_id, _ in self.first(run, limit)]
        found: list[str] = []
        start = None
        if after is not None:
            value = column_value(after, key.column)
            found = self.read(rest, (*equal, (key.column, value)), after, limit)
            start = (value,)
        missing = limit - len(found)
        if missing == 0:
            return found
        head = self.first(Run(key, equal, start), missing)
        if len(head) < missing:
            return found + [image_id for image_id, _ in head]
        last = head[-1][1]
        found += [image_id for image_id, value in head if value != last]
        ties = (*equal, (key.column, last))
        return found + self.read(rest, ties, None, limit - len(found))

    def _read_choices(
        self,
        order: Sequence[Order],
        choices: Sequence[Value],
        equal: tuple[tuple[Column, Value], ...],
        after: Image | None,
        limit: int,
    ) -> list[str]:
        """The page of a list whose key has one of a few values: those in turn."""
        key, rest = order[0], order[1:]
        reached = None if after is None else sort_key(column_value(after, key.column))
        found: list[str] = []
        for value in choices:
            place = sort_key(value)
            if reached is not None and place != reached and (place < reached) != key.descending:
                continue
            behind = after if place == reached else None
            chosen = (*equal, (key.column, value))
            found += self.read(rest, chosen, behind, limit - len(found))
            if len(found) == limit:
                break
        return found


def _is_plain(order: Sequence[Order]) -> bool:
    """Whether one index has this order. Nothing sorts those of the same id."""
    return order[0].column is Column.ID or tuple(order) == total_order(order[:1])


def _keys(image: Image, key: Order) -> tuple[Value, ...]:
    return tuple(column_value(image, column) for column in Run(key).columns)


def _choices(key: Order, conditions: Sequence[Condition]) -> Sequence[Value] | None:
    """The values that a key can have by its conditions, in order; None: any."""
    for condition in conditions:
        if condition.column is not key.column or key.column is Column.ID:
            continue
        if condition.operator is Operator.EQUAL:
            return [] if condition.value is None else [condition.value]  # type: ignore[list-item]
        if isinstance(condition.value, tuple):
            return sorted(set(condition.value), key=sort_key, reverse=key.descending)
    return None


def _follows(key: Order, one: Value, other: Value) -> bool:
    """Whether a value comes behind another one in the order."""
    mine, its = sort_key(one), sort_key(other)
    return mine != its and (mine < its) == key.descending
