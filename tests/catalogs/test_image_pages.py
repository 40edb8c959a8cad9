"""Statements of pages: the usual ones are cached, and clients cannot fill memory with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imaged.catalogs.image_pages import MAX_CACHED_CONDITIONS, ListStatements, statements_of
from imaged.core.access import Caller
from imaged.core.image import Image
from imaged.core.list_runs import single_run
from imaged.core.query import Column, Condition, ImageQuery, Operator

USUAL = ImageQuery(
    caller=Caller("u", "p", frozenset({"member"})),
    conditions=(Condition(Column.HIDDEN, Operator.EQUAL, value=False),),
)
LAST = Image(id="i", owner="p", created_at=datetime(2026, 1, 1, tzinfo=UTC))
ONE_OF_MANY = Condition(Column.NAME, Operator.ONE_OF, tuple(map(str, range(10_000))))


def statements(query: ImageQuery) -> ListStatements:
    """Those for SQLite."""
    run = single_run(query.order, query.conditions, query.after)
    assert run is not None
    return statements_of(query, run, "sqlite")


def test_a_usual_page_is_built_once() -> None:
    """Many clients request it, and often."""
    assert statements(USUAL) is statements(replace(USUAL))


def test_each_caller_has_statements_of_his_own() -> None:
    """One caller's statement never serves another."""
    other = replace(USUAL, caller=Caller("u", "q", frozenset({"member"})))

    assert statements(USUAL) is not statements(other)


@pytest.mark.parametrize(
    "query",
    [
        replace(USUAL, after=LAST),
        replace(USUAL, tags=("t",)),
        replace(USUAL, properties=(("name", "value"),)),
        replace(USUAL, conditions=(ONE_OF_MANY,)),
        replace(USUAL, conditions=USUAL.conditions * (MAX_CACHED_CONDITIONS + 1)),
    ],
    ids=["further", "tagged", "by property", "one of many", "many filters"],
)
def test_rare_or_large_statements_are_not_cached(query: ImageQuery) -> None:
    """Filters are limited only by the header's size, and a statement is larger than its text."""
    assert statements(query) is not statements(query)
