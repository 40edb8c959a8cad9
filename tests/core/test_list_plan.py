"""What finds the images of a page, and which lists are empty or have no content."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import pytest

from imaged.core.lifecycle import GONE, Status
from imaged.core.list_plan import (
    EXPECTED_IMAGES,
    SAMPLE_IMAGES,
    Candidate,
    are_few,
    are_gathered,
    begins_well,
    bounds_of,
    choose,
    conditions_of_order,
    count_limit,
    filter_to_add,
    gather_limit,
    have_content,
    implied_by_times,
    possible_statuses,
)
from imaged.core.query import Column, Condition, ImageQuery, Operator
from support.callers import ADMIN, OWNER
from support.sample_images import NOW

MANY = count_limit(25) + 1
RECENT, LONG_AGO = NOW - timedelta(days=1), NOW - timedelta(days=1000)


@pytest.mark.parametrize(
    ("candidates", "descending", "chosen"),
    [
        ([], True, None),
        ([Candidate(0)], True, 0),
        ([Candidate(3000), Candidate(20)], True, 1),
        ([Candidate(MANY), Candidate(3000)], True, 1),
        ([Candidate(MANY, RECENT), Candidate(3000)], True, 1),
        ([Candidate(MANY)], True, None),
        ([Candidate(MANY, RECENT)], True, 0),
        ([Candidate(MANY), Candidate(MANY, RECENT)], True, 1),
        ([Candidate(MANY, RECENT), Candidate(MANY, LONG_AGO)], True, 1),
        ([Candidate(MANY, RECENT), Candidate(MANY, LONG_AGO)], False, 0),
    ],
)
def test_what_finds_the_images(
    candidates: list[Candidate], descending: bool, chosen: int | None
) -> None:
    """The rarest of few images; else the ordered one that reaches farthest; else the order."""
    assert choose(candidates, 25, EXPECTED_IMAGES, descending=descending) == chosen


@pytest.mark.parametrize(
    ("count", "limit", "total", "few"),
    [
        (5000, 25, 1_000_000, True),
        (5001, 25, 1_000_000, False),
        (5001, 25, 100_000_000, False),
        (500, 25, 10_000, True),
        (501, 25, 10_000, False),
        (1, 0, 1, True),
        (31_622, 1000, 1_000_000, True),
    ],
)
def test_what_is_few(count: int, limit: int, total: int, few: bool) -> None:
    """As many as are cheaper to read than a page is to find; never more than were counted."""
    assert are_few(count, limit, total) is few


@pytest.mark.parametrize(
    ("hits", "looked_at", "well"),
    [(5, SAMPLE_IMAGES, False), (6, SAMPLE_IMAGES, True), (0, SAMPLE_IMAGES - 1, True)],
)
def test_how_an_order_begins(hits: int, looked_at: int, well: bool) -> None:
    """Well if a page is full before many images were read, or the order has few images."""
    assert begins_well(hits, looked_at, 26) is well


@pytest.mark.parametrize(
    ("count", "hits", "gathered"),
    [
        (gather_limit(25), 0, True),
        (gather_limit(25) + 1, 0, False),
        (12_499, 2, True),
        (12_500, 2, False),
    ],
)
def test_what_is_gathered(count: int, hits: int, gathered: bool) -> None:
    """What is less than an order has before a page is full, but never more than was counted."""
    assert are_gathered(count, hits, 25) is gathered


@pytest.mark.parametrize(
    ("statuses", "bounds"),
    [
        (set(Status), []),
        (set(), []),
        ({Status.ACTIVE}, [(Operator.LESS_OR_EQUAL, Status.ACTIVE)]),
        ({Status.UPLOADING}, [(Operator.GREATER_OR_EQUAL, Status.UPLOADING)]),
        (
            {Status.KILLED, Status.QUEUED},
            [(Operator.GREATER_OR_EQUAL, "killed"), (Operator.LESS_OR_EQUAL, "queued")],
        ),
    ],
)
def test_where_an_order_by_status_begins(
    statuses: set[Status], bounds: list[tuple[Operator, str]]
) -> None:
    """With the first status that an image of the list can have, and it ends with the last."""
    assert [(one.operator, one.value) for one in bounds_of(statuses)] == bounds


def status_is(operator: Operator, *statuses: Status) -> Condition:
    """A condition on the status."""
    value = statuses if operator is Operator.ONE_OF else statuses[0]
    return Condition(Column.STATUS, operator, value)


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ([], set(Status) - GONE),
        ([status_is(Operator.EQUAL, Status.ACTIVE)], {Status.ACTIVE}),
        ([status_is(Operator.EQUAL, Status.DELETED)], set()),
        (
            [Condition(Column.SIZE, Operator.GREATER, 0)],
            {Status.ACTIVE, Status.DEACTIVATED},
        ),
        ([Condition(Column.SIZE, Operator.ONE_OF, (None, 1))], set(Status) - GONE),
        ([Condition(Column.SIZE, Operator.NOT_EQUAL, 1)], set(Status) - GONE),
        (
            [Condition(Column.SIZE, Operator.ONE_OF, (None,))],
            set(Status) - GONE - {Status.ACTIVE, Status.DEACTIVATED},
        ),
        ([status_is(Operator.ONE_OF, Status.ACTIVE, Status.DELETED)], {Status.ACTIVE}),
        (
            [
                status_is(Operator.EQUAL, Status.ACTIVE),
                status_is(Operator.ONE_OF, Status.QUEUED),
            ],
            set(),
        ),
    ],
)
def test_statuses_of_a_list(conditions: list[Condition], found: set[Status]) -> None:
    """A caller's list has no images that are gone, so a list of those is known to be empty."""
    assert possible_statuses(conditions, OWNER) == found
    if not conditions:
        assert possible_statuses(conditions, None) == set(Status)


def test_a_filtered_list_by_status_is_read_status_by_status() -> None:
    """Of those that images in it can have; a list without a filter is in the order of an index."""
    hidden = Condition(Column.HIDDEN, Operator.EQUAL, value=False)
    large = Condition(Column.SIZE, Operator.GREATER, 1)
    with_content = Condition(Column.STATUS, Operator.ONE_OF, (Status.ACTIVE, Status.DEACTIVATED))
    plain = ImageQuery(caller=OWNER, conditions=(hidden,))
    filtered = ImageQuery(caller=OWNER, conditions=(hidden, large))

    assert conditions_of_order(plain) == (hidden,)
    assert conditions_of_order(filtered) == (hidden, large, with_content)
    assert conditions_of_order(replace(plain, tags=("t",)))[1].column is Column.STATUS


@pytest.mark.parametrize(
    ("key", "other", "operator", "implied"),
    [
        (Column.CREATED_AT, Column.UPDATED_AT, Operator.LESS, Operator.LESS_OR_EQUAL),
        (Column.CREATED_AT, Column.UPDATED_AT, Operator.LESS_OR_EQUAL, Operator.LESS_OR_EQUAL),
        (Column.CREATED_AT, Column.UPDATED_AT, Operator.GREATER, None),
        (Column.UPDATED_AT, Column.CREATED_AT, Operator.GREATER, Operator.GREATER_OR_EQUAL),
        (Column.UPDATED_AT, Column.CREATED_AT, Operator.LESS, None),
        (Column.UPDATED_AT, Column.SIZE, Operator.GREATER, None),
        (Column.NAME, Column.UPDATED_AT, Operator.LESS, None),
    ],
)
def test_what_times_imply(
    key: Column, other: Column, operator: Operator, implied: Operator | None
) -> None:
    """No image is changed before it is created; from its creation no later change follows."""
    found = implied_by_times(key, [Condition(other, operator, NOW)])

    assert list(found) == ([] if implied is None else [Condition(key, implied, NOW)])


@pytest.mark.parametrize(
    ("statuses", "known"),
    [
        ({Status.QUEUED}, False),
        ({Status.QUEUED, Status.IMPORTING}, False),
        ({Status.ACTIVE}, True),
        ({Status.ACTIVE, Status.QUEUED}, None),
        ({Status.DELETED}, None),
    ],
)
def test_content_by_status(statuses: Collection[Status], known: bool | None) -> None:
    """A list of queued images need not be looked for among those with a size."""
    assert have_content(statuses) is known


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (ImageQuery(caller=OWNER), "name=VALUE"),
        (
            ImageQuery(caller=ADMIN, conditions=(Condition(Column.NAME, Operator.EQUAL, "n"),)),
            "owner=VALUE",
        ),
        (
            ImageQuery(caller=OWNER, conditions=(Condition(Column.NAME, Operator.EQUAL, "n"),)),
            "created_at=gte:TIME",
        ),
        (
            ImageQuery(
                caller=OWNER,
                conditions=tuple(
                    Condition(column, Operator.EQUAL, "n")
                    for column in (Column.NAME, Column.CREATED_AT, Column.CHECKSUM)
                ),
            ),
            "id=in:ID,ID",
        ),
    ],
)
def test_the_filter_to_add(query: ImageQuery, expected: str) -> None:
    """One that the list does not have yet, and that makes it shorter."""
    assert filter_to_add(query) == expected
