"""The budget of a list in SQLite: what is counted, and what becomes of its statements."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat

import pytest
from sqlalchemy import Connection, create_engine, text

from imaged.catalogs.sqlite.engine import MOST_WAITED, with_budget

LONG = text(
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)"
    " SELECT count(*) FROM numbers"
)
COUNT = 100_000


def count(db: Connection) -> object:
    """Execute a statement that takes a few milliseconds."""
    return db.scalar(LONG)


def passing(seconds: float) -> Callable[[], float]:
    """A clock after whose first look this much has passed."""
    moments = chain([0.0], repeat(seconds))
    return lambda: next(moments)


def test_processor_time_ends_a_list() -> None:
    """However little has passed by the clock; and the connection is as before."""
    with create_engine("sqlite://").connect() as db:
        with pytest.raises(TimeoutError):
            with_budget(count, 1, passing(1.1), passing(0))(db)

        assert count(db) == COUNT


def test_waiting_ends_no_list() -> None:
    """A busy machine takes longer, and not more of its processors."""
    with create_engine("sqlite://").connect() as db:
        assert with_budget(count, 1, passing(0.9), passing(MOST_WAITED - 1))(db) == COUNT


def test_a_list_that_waits_long_is_ended() -> None:
    """As for a disk that hardly answers."""
    with create_engine("sqlite://").connect() as db, pytest.raises(TimeoutError):
        with_budget(count, 1, passing(0), passing(MOST_WAITED + 1))(db)
