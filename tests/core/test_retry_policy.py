"""Pauses between attempts, and the end of the attempts."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

import pytest

from imaged.core.retry_policy import RetryPolicy

NONE = timedelta(0)


def policy(attempts: int | None = None, retry_for: timedelta = NONE) -> RetryPolicy:
    """From ten seconds to an hour."""
    return RetryPolicy(
        first_pause=timedelta(seconds=10),
        longest_pause=timedelta(hours=1),
        attempts=attempts,
        retry_for=retry_for,
    )


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 10), (2, 20), (3, 40), (9, 2560), (10, 3600), (17, 3600), (1_000_000, 3600)],
)
def test_pauses_double_up_to_the_longest(failures: int, seconds: int) -> None:
    """However many failures there were."""
    assert policy().pause(failures) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 5), (0.5, 7.5), (1.0, 10)])
def test_a_random_pause_is_at_least_half(chance: float, seconds: float) -> None:
    """So that those that failed together do not return together, nor at once."""
    assert policy().pause(1, chance) == timedelta(seconds=seconds)


def test_attempts_are_limited() -> None:
    """The pauses are one fewer; without a limit, there is always a next one."""
    assert policy(attempts=2).next_pause(1, NONE) == timedelta(seconds=10)
    assert policy(attempts=2).next_pause(2, NONE) is None
    assert policy().next_pause(1_000, NONE) == timedelta(hours=1)


def test_time_allows_more_attempts() -> None:
    """The last one is made when the time ends, and none after it."""
    patient = policy(attempts=1, retry_for=timedelta(seconds=12))

    assert patient.next_pause(1, NONE) == timedelta(seconds=10)
    assert patient.next_pause(2, timedelta(seconds=10)) == timedelta(seconds=2)
    assert patient.next_pause(3, timedelta(seconds=12)) is None


def test_all_pauses_in_order() -> None:
    """As many as there are further attempts."""
    assert [pause.total_seconds() for pause in policy(attempts=3).pauses()] == [10, 20]
    assert [pause.total_seconds() for pause in policy(attempts=3).pauses(lambda: 0.0)] == [5, 10]
    assert not list(policy(attempts=1).pauses())
    assert len(list(islice(policy().pauses(), 100))) == 100
