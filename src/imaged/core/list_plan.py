"""Decides how a page of a list is read: which condition finds the images, and which are checked.

A condition that few images meet finds them all, and the page is sorted out of those. If each
condition is met by many, images are read in the order of the list, and those that meet all
conditions are soon enough for a page. Which is the case is counted when the page is requested, up
to a limit, so no statistics have to be current.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isqrt

from imaged.core.access import Caller
from imaged.core.lifecycle import GONE, Status
from imaged.core.query import (
    NEWEST_FIRST,
    OF_CONTENT,
    Column,
    Condition,
    ImageQuery,
    Operator,
)

#: Images for which the counting is limited; the more there are, the more is counted in vain.
EXPECTED_IMAGES = 1_000_000

#: The time of the database that a list may take, unless configured otherwise: a page takes a few
#: milliseconds.
LIST_BUDGET = timedelta(seconds=1)

#: Statuses in which no image has content, and those in which each has; of others some have.
EMPTY = frozenset({Status.QUEUED, Status.SAVING, Status.UPLOADING, Status.IMPORTING, Status.KILLED})
COMPLETE = frozenset({Status.ACTIVE, Status.DEACTIVATED, Status.PENDING_DELETE})

#: A key that is a time, the other time, and the operators of which the last one holds for the key.
_IMPLIED = {
    Column.CREATED_AT: (Column.UPDATED_AT, Operator.LESS, Operator.LESS_OR_EQUAL),
    Column.UPDATED_AT: (Column.CREATED_AT, Operator.GREATER, Operator.GREATER_OR_EQUAL),
}

#: Images at the beginning of an order that are looked at, to tell how far a page reaches.
SAMPLE_IMAGES = 1000

#: Filters that find few images, the most usual first.
SELECTIVE = (Column.NAME, Column.OWNER, Column.CREATED_AT, Column.CHECKSUM)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What can find the images of a page."""

    count: int  # of its images, up to one more than ``count_limit``
    #: The creation time of the last one that was counted, if they are found in the order of the
    #: list, which is that of their creation.
    reach: datetime | None = None


def count_limit(limit: int) -> int:
    """How many images are counted for a page of at most ``limit`` images.

    Reading ``n`` images costs as much as reading in order until a page is full of those that
    one in ``total / n`` is, if ``n`` is the root of ``limit * total``.
    """
    return isqrt(max(1, limit) * EXPECTED_IMAGES)


def are_few(count: int, limit: int, total: int) -> bool:
    """Whether it is cheaper to read all of these images than to find a page among ``total``."""
    return count <= count_limit(limit) and count**2 <= max(1, limit) * total


def choose(
    candidates: Sequence[Candidate], limit: int, total: int, *, descending: bool
) -> int | None:
    """The candidate that finds the images of a page; None: the order of the list does.

    ``total``: images in the catalog, roughly. Of ordered ones with many images, the one whose
    images are farthest apart has the fewest.
    """
    numbers = range(len(candidates))
    few = [number for number in numbers if are_few(candidates[number].count, limit, total)]
    if few:
        return min(few, key=lambda number: candidates[number].count)
    reach = {number: one.reach for number, one in enumerate(candidates) if one.reach is not None}
    farthest = min if descending else max
    return farthest(reach, key=lambda number: reach[number], default=None)


def gather_limit(limit: int) -> int:
    """How many images are read at most to sort out a page of them, if reading in order is slow."""
    return 4 * count_limit(limit)


def begins_well(hits: int, looked_at: int, limit: int) -> bool:
    """Whether the beginning of an order, of which ``SAMPLE_IMAGES`` were looked at if there are so
    many, has so many images of the list that reading in order is quick.
    """
    return looked_at < SAMPLE_IMAGES or _expected_reach(hits, limit) <= count_limit(limit)


def are_gathered(count: int, hits: int, limit: int) -> bool:
    """Whether it is cheaper to read all of these images than to read in an order that begins so."""
    return count <= gather_limit(limit) and count < _expected_reach(hits, limit)


def _expected_reach(hits: int, limit: int) -> int:
    return max(1, limit) * SAMPLE_IMAGES // max(1, hits)


def possible_statuses(conditions: Sequence[Condition], caller: Caller | None) -> Collection[Status]:
    """The statuses of images in the list; no caller sees those that are gone."""
    found = set(Status) if caller is None else set(Status) - GONE
    for condition in conditions:
        if condition.column in OF_CONTENT:
            if requires_a_value(condition):
                found -= EMPTY
            elif condition.value == (None,):
                found -= COMPLETE
        if condition.column is not Column.STATUS:
            continue
        if condition.operator is Operator.EQUAL:
            found &= {condition.value}
        elif isinstance(condition.value, tuple):
            found &= set(condition.value)
    return found


def bounds_of(statuses: Collection[Status]) -> Sequence[Condition]:
    """Where a list that is sorted by status begins and ends, if not with the first and the last."""
    if not statuses:
        return []
    least, most = min(statuses), max(statuses)
    found = (
        [] if least == min(Status) else [Condition(Column.STATUS, Operator.GREATER_OR_EQUAL, least)]
    )
    if most != max(Status):
        found.append(Condition(Column.STATUS, Operator.LESS_OR_EQUAL, most))
    return found


def requires_a_value(condition: Condition) -> bool:
    """Whether it holds for no image without a value of the column."""
    if isinstance(condition.value, tuple):
        return None not in condition.value
    return condition.operator is not Operator.NOT_EQUAL


def implied_by_times(key: Column, conditions: Sequence[Condition]) -> Sequence[Condition]:
    """What follows for the key: no image is changed before it is created.

    So the images that were changed before a moment are not looked for among those created later.
    """
    if key not in _IMPLIED:
        return []
    other, strict, inclusive = _IMPLIED[key]
    return [
        Condition(key, inclusive, condition.value)
        for condition in conditions
        if condition.column is other and condition.operator in {strict, inclusive}
    ]


def have_content(statuses: Collection[Status]) -> bool | None:
    """Whether all images in these statuses have content, or none has; None: some may have."""
    if set(statuses) <= EMPTY:
        return False
    return True if set(statuses) <= COMPLETE else None


def conditions_of_order(query: ImageQuery) -> Sequence[Condition]:
    """The conditions that say which values the keys of the order can have.

    A list with filters that is sorted by status is read status by status: so those without an
    image that meets them cost nothing, and each has the order of creation, which filters follow.
    """
    if _is_unfiltered(query):
        return query.conditions
    statuses = sorted(possible_statuses(query.conditions, query.caller))
    return (*query.conditions, Condition(Column.STATUS, Operator.ONE_OF, tuple(statuses)))


def _is_unfiltered(query: ImageQuery) -> bool:
    return not (query.tags or query.properties) and all(
        one.column is Column.HIDDEN and one.value is False for one in query.conditions
    )


def is_simple(query: ImageQuery) -> bool:
    """Whether a page is read without looking for it: nothing is counted, and little is checked."""
    sees_all = query.caller is None or query.caller.is_admin
    is_walked = query.order == NEWEST_FIRST or (sees_all and len(query.order) == 1)
    return is_walked and _is_unfiltered(query)


def filter_to_add(query: ImageQuery) -> str:
    """The filter that makes a list shorter that was too long to search through."""
    given = {condition.column for condition in query.conditions}
    may_filter_owners = query.caller is None or query.caller.is_admin
    for column in SELECTIVE:
        if column not in given and (column is not Column.OWNER or may_filter_owners):
            return f"{column}=gte:TIME" if column is Column.CREATED_AT else f"{column}=VALUE"
    return "id=in:ID,ID"
