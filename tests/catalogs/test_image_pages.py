"""Statements of pages: the usual ones are cached, and clients cannot fill memory with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imaged.catalogs.image_pages import ListStatements, statements_of
from imaged.catalogs.list_shapes import MAX_CHOICES, MAX_CONDITIONS
from imaged.core.access import Caller
from imaged.core.image import Image
from imaged.core.list_runs import single_run
from imaged.core.query import Column, Condition, ImageQuery, Operator

USUAL = ImageQuery(
    caller=Caller("u", "p", frozenset({"member"})),
    conditions=(Condition(Column.HIDDEN, Operator.EQUAL, value=False),),
)
LAST = Image(id="i", owner="p", created_at=datetime(2026, 1, 1, tzinfo=UTC))
OTHER = Image(id="j", owner="q", created_at=datetime(2026, 1, 2, tzinfo=UTC))
SINCE = Condition(Column.CREATED_AT, Operator.GREATER, datetime(2025, 1, 1, tzinfo=UTC))
NAMED = Condition(Column.NAME, Operator.EQUAL, "n")
ONE_OF_MANY = Condition(Column.NAME, Operator.ONE_OF, ("a", "b"))
STATUSES = Condition(Column.STATUS, Operator.ONE_OF, ("active",) * (MAX_CHOICES + 1))


def statements(query: ImageQuery) -> ListStatements:
    """Those for SQLite."""
    run = single_run(query.order, query.conditions, query.after)
    assert run is not None
    return statements_of(query, run, "sqlite")[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (USUAL, replace(USUAL)),
        (USUAL, replace(USUAL, caller=Caller("v", "q", frozenset({"reader"})))),
        (replace(USUAL, after=LAST), replace(USUAL, after=OTHER)),
        (replace(USUAL, tags=("t",)), replace(USUAL, tags=("u",))),
        (
            replace(USUAL, properties=(("name", "value"),)),
            replace(USUAL, properties=(("other", "1"),)),
        ),
        (
            replace(USUAL, conditions=(NAMED,)),
            replace(USUAL, conditions=(replace(NAMED, value="m"),)),
        ),
    ],
    ids=["the same", "callers", "further pages", "tags", "properties", "names"],
)
def test_lists_of_one_shape_share_their_statements(one: ImageQuery, other: ImageQuery) -> None:
    """They are built and compiled once, whatever values clients give."""
    assert statements(one) is statements(other)


@pytest.mark.parametrize(
    "other",
    [
        replace(USUAL, caller=Caller("u", "p", frozenset({"admin"}))),
        replace(USUAL, caller=Caller("u", "", frozenset({"member"}))),
        replace(USUAL, caller=None),
        replace(USUAL, after=LAST),
        replace(USUAL, limit=7),
        replace(USUAL, tags=("t", "u")),
        replace(USUAL, member_status=None),
        replace(USUAL, conditions=()),
    ],
    ids=["admins", "no project", "the operator", "further", "limit", "tags", "members", "hidden"],
)
def test_other_shapes_have_other_statements(other: ImageQuery) -> None:
    """What decides how a list is read is no parameter."""
    assert statements(USUAL) is not statements(other)


@pytest.mark.parametrize(
    "query",
    [
        replace(USUAL, conditions=(ONE_OF_MANY,)),
        replace(USUAL, conditions=(STATUSES,)),
        replace(USUAL, conditions=USUAL.conditions * (MAX_CONDITIONS + 1)),
        replace(USUAL, tags=tuple(map(str, range(MAX_CONDITIONS + 1)))),
        replace(USUAL, conditions=(SINCE,), after=LAST),
    ],
    ids=["one of many", "many statuses", "many filters", "many tags", "bounded page"],
)
def test_rare_or_large_statements_are_not_cached(query: ImageQuery) -> None:
    """Filters are limited only by the header's size, and a statement is larger than its text."""
    assert statements(query) is not statements(query)


@pytest.mark.parametrize(("statuses", "parts"), [(("active",), 1), (("active", "queued"), 2)])
def test_several_values_are_read_in_turn(statuses: tuple[str, ...], parts: int) -> None:
    """Each has an order of its own in the index, and all together have none."""
    condition = Condition(Column.STATUS, Operator.ONE_OF, statuses)
    run = statements(replace(USUAL, caller=None, conditions=(condition,))).run
    (term,) = run.terms.filters

    assert run.is_walked(term)
    assert len(run.firsts((term,))) == parts
