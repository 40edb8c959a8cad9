"""A list in any order, read in runs that indexes follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.list_runs import (
    FirstOf,
    Marked,
    Run,
    Segment,
    read_page,
    segments,
    single_run,
    without_implied,
)
from imaged.core.query import (
    NEWEST_FIRST,
    SORTABLE,
    Column,
    Condition,
    ImageQuery,
    Operator,
    Order,
    Value,
    column_value,
    page_of_images,
    sort_key,
)
from support.sample_images import NOW, content, queued

IMAGES = st.builds(
    lambda number, name, status, age, size: replace(
        queued(f"id-{number:03}"),
        name=name,
        status=status,
        created_at=NOW - timedelta(seconds=age),
        updated_at=NOW,
        content=None if size is None else content(size),
    ),
    st.integers(0, 999),
    st.none() | st.sampled_from("abc"),
    st.sampled_from([Status.QUEUED, Status.SAVING, Status.KILLED]),
    st.integers(0, 2),
    st.none() | st.integers(0, 2),
)
ORDERS = st.lists(
    st.builds(Order, st.sampled_from(SORTABLE), st.booleans()),
    min_size=1,
    max_size=4,
    unique_by=lambda order: order.column,
).map(tuple)
CONDITIONS = st.sampled_from(
    [
        (),
        (Condition(Column.STATUS, Operator.EQUAL, Status.QUEUED),),
        (Condition(Column.STATUS, Operator.ONE_OF, (Status.SAVING, Status.QUEUED)),),
        (Condition(Column.NAME, Operator.ONE_OF, ("b", None)),),
        (Condition(Column.NAME, Operator.EQUAL, None),),
        (Condition(Column.SIZE, Operator.GREATER_OR_EQUAL, 1),),
    ]
)


def first_of(images: Sequence[Image], conditions: tuple[Condition, ...]) -> FirstOf:
    """Finds the first images of a run in plain Python, in the order of its columns."""

    def first(run: Run, limit: int) -> Sequence[tuple[str, Value]]:
        def place(image: Image) -> list[tuple[bool, object]]:
            return [sort_key(column_value(image, column)) for column in run.columns]

        found = [
            image
            for image in page_of_images(images, ImageQuery(conditions=conditions, limit=1000))
            if all(column_value(image, name) == value for name, value in run.equal)
        ]
        found.sort(key=place, reverse=run.key.descending)
        if run.start is not None:
            start = [sort_key(value) for value in run.start if not isinstance(value, Marked)]
            sign = -1 if run.key.descending else 1
            found = [
                image
                for image in found
                if (place(image)[: len(start)] > start) - (place(image)[: len(start)] < start)
                == sign
            ]
        return [(image.id, column_value(image, run.key.column)) for image in found[:limit]]

    return first


@given(
    st.lists(IMAGES, unique_by=lambda image: image.id, min_size=1, max_size=15),
    ORDERS,
    CONDITIONS,
    st.integers(0, 6),
    st.data(),
)
def test_runs_have_the_images_of_the_page(
    images: list[Image],
    order: tuple[Order, ...],
    conditions: tuple[Condition, ...],
    limit: int,
    data: st.DataObject,
) -> None:
    """Whatever the order, the filters and the marker, which need not meet the filters."""
    after = data.draw(st.none() | st.sampled_from(images))
    query = ImageQuery(conditions=conditions, order=order, after=after, limit=limit)
    ids = read_page(order, conditions, after, limit, first_of(images, conditions))

    assert sorted(ids) == sorted(image.id for image in page_of_images(images, query))


@pytest.mark.parametrize(
    ("order", "conditions", "is_single"),
    [
        (NEWEST_FIRST, (), True),
        ((Order(Column.SIZE),), (), True),
        ((Order(Column.ID), Order(Column.NAME)), (), True),
        ((Order(Column.SIZE), Order(Column.CREATED_AT)), (), True),
        ((Order(Column.SIZE), Order(Column.CREATED_AT, descending=True)), (), False),
        ((Order(Column.SIZE), Order(Column.NAME)), (), False),
        (
            (Order(Column.STATUS),),
            (Condition(Column.STATUS, Operator.EQUAL, Status.ACTIVE),),
            False,
        ),
        (
            (Order(Column.CREATED_AT),),
            (Condition(Column.CREATED_AT, Operator.GREATER, NOW),),
            True,
        ),
    ],
)
def test_what_one_index_has_in_order(
    order: tuple[Order, ...], conditions: tuple[Condition, ...], is_single: bool
) -> None:
    """One key, and equals by their creation; with one value of the key only these are sorted."""
    assert (single_run(order, conditions, None) is not None) is is_single


def test_few_images_are_read_to_sort_by_several_columns() -> None:
    """As many as the page has, in each of the runs, and no run for each group of equals."""
    images = [replace(queued(f"id-{number:03}"), name=f"{number % 3}") for number in range(300)]
    images = [replace(image, created_at=NOW, updated_at=NOW) for image in images]
    asked: list[int] = []
    first = first_of(images, ())

    def counting(run: Run, limit: int) -> Sequence[tuple[str, Value]]:
        asked.append(limit)
        return first(run, limit)

    order = (Order(Column.NAME), Order(Column.ID, descending=True))
    read_page(order, (), images[150], 25, counting)

    assert len(asked) <= 3
    assert max(asked) <= 25


UP, DOWN = Order(Column.SIZE), Order(Column.SIZE, descending=True)
TIES = (Column.CREATED_AT, Column.ID)
KEYS = (Column.SIZE, *TIES)


@pytest.mark.parametrize(
    ("run", "has_value", "found"),
    [
        (Run(UP), None, [Segment()]),
        (Run(UP), True, [Segment(True)]),
        (Run(DOWN), False, [Segment(False)]),
        (Run(UP, start=(7, NOW, "i")), None, [Segment(True, KEYS, (7, NOW, "i"))]),
        (
            Run(DOWN, start=(7, NOW, "i")),
            None,
            [Segment(True, KEYS, (7, NOW, "i")), Segment(False)],
        ),
        (Run(DOWN, start=(7, NOW, "i")), True, [Segment(True, KEYS, (7, NOW, "i"))]),
        (
            Run(UP, start=(None, NOW, "i")),
            None,
            [Segment(False, TIES, (NOW, "i")), Segment(True)],
        ),
        (Run(DOWN, start=(None, NOW, "i")), None, [Segment(False, TIES, (NOW, "i"))]),
        (Run(UP, start=(None,)), None, [Segment(True)]),
        (Run(DOWN, start=(None,)), None, []),
        (Run(DOWN, start=(7,)), None, [Segment(True, KEYS[:1], (7,)), Segment(False)]),
        (Run(UP, start=(7, NOW, "i")), False, []),
    ],
)
def test_parts_of_a_run(run: Run, has_value: bool | None, found: list[Segment]) -> None:
    """With a value and without, because no comparison finds images without one."""
    assert list(segments(run, has_value=has_value)) == found


def bound(operator: Operator, value: int) -> Condition:
    """A condition on the size."""
    return Condition(Column.SIZE, operator, value)


AT_LEAST, MORE = Operator.GREATER_OR_EQUAL, Operator.GREATER
AT_MOST, LESS = Operator.LESS_OR_EQUAL, Operator.LESS


@pytest.mark.parametrize(
    ("key", "condition", "begins_at_start", "is_kept"),
    [
        (UP, bound(AT_LEAST, 6), True, False),
        (UP, bound(AT_LEAST, 7), True, False),
        (UP, bound(MORE, 7), False, True),
        (UP, bound(AT_LEAST, 8), False, True),
        (UP, bound(AT_MOST, 9), True, True),
        (DOWN, bound(AT_MOST, 8), True, False),
        (DOWN, bound(LESS, 7), False, True),
        (DOWN, bound(AT_MOST, 6), False, True),
        (DOWN, bound(AT_LEAST, 6), True, True),
    ],
)
def test_an_index_is_entered_at_one_place(
    key: Order, condition: Condition, begins_at_start: bool, is_kept: bool
) -> None:
    """At the start of the run, or at a bound of the key behind it: the other one is implied."""
    run, kept = without_implied(Run(key, start=(7, NOW, "i")), [condition])

    assert (run.start is not None) is begins_at_start
    assert bool(kept) is is_kept
