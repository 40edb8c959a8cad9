"""Duties that are done again and again, whatever goes wrong in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from imaged.core.errors import CatalogError, ImagedError, StoreError, StoreFull
from imaged.services.periodic import JITTER, Wakeup, run_periodically
from support.cluster import Cluster
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

EVERY = timedelta(seconds=30)


def duty(
    *errors: Exception | None, rounds: list[float] | None = None
) -> Callable[[], Awaitable[None]]:
    """Something that fails in these rounds, and not afterwards."""
    left = list(errors)

    async def once() -> None:
        if rounds is not None:
            rounds.append(elapsed())
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        await anyio.lowlevel.checkpoint()

    return once


async def run_for(seconds: float, repeating: Awaitable[None]) -> list[dict[str, object]]:
    """Let it run for a while; return what was logged."""
    with capture_logs() as logs, anyio.move_on_after(seconds):
        await repeating
    return [dict(entry) for entry in logs]


async def test_the_first_round_comes_at_once_and_then_a_pause(cluster: Cluster) -> None:
    """A little more or less than was asked for, so that not all look at the same moment."""
    rounds: list[float] = []
    cluster.start(run_periodically("look", duty(rounds=rounds), lambda: EVERY)).ignore()
    await anyio.sleep(1000)
    pauses = [after - before for before, after in pairwise(rounds)]

    assert rounds[0] == 0
    assert all(abs(pause - 30) <= 30 * JITTER for pause in pauses)
    assert len(set(pauses)) > 1
    assert len(rounds) > 1000 // (30 * (1 + JITTER))


async def test_the_pause_is_the_one_configured_now(cluster: Cluster) -> None:
    """It is asked for before each pause, so that a reload holds at the next one."""
    rounds: list[float] = []
    every = timedelta(seconds=1)
    cluster.start(run_periodically("look", duty(rounds=rounds), lambda: every)).ignore()
    await anyio.sleep(20)
    often = len(rounds)

    every = timedelta(seconds=1000)
    await anyio.sleep(20)

    assert often > 15
    assert len(rounds) <= often + 1


@pytest.mark.parametrize("error", [CatalogError("away"), ZeroDivisionError("ours")])
@pytest.mark.rule("loops.2")
async def test_a_round_that_fails_is_not_the_last(error: Exception) -> None:
    """Neither with an error that was to be expected, nor with one that was not."""
    rounds: list[float] = []
    await run_for(100, run_periodically("look", duty(error, error, rounds=rounds), lambda: EVERY))
    assert len(rounds) >= 3


@pytest.mark.rule("loops.1", "loops.3")
async def test_failures_are_logged_once_per_change() -> None:
    """The same again is no news; another error is, and so is the same one after a success."""
    away, full = ImagedError("a new one"), StoreError("near", "is full")
    errors = (away, away, full, full, None, full, None, away)
    logs = await run_for(500, run_periodically("look", duty(*errors), lambda: EVERY))
    told = [(entry["duty"], entry["error"]) for entry in logs if entry["event"] == "duty.failed"]
    assert told == [("look", str(error)) for error in (away, full, full, away)]


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (CatalogError("away"), "debug"),
        (StoreError("near", "is away"), "debug"),
        (StoreFull("near", "is full"), "warning"),
        (ImagedError("anything else"), "warning"),
    ],
)
async def test_an_outage_is_not_told_again_by_each_duty(error: ImagedError, level: str) -> None:
    """The log has its beginning and its end already."""
    (told,) = await run_for(100, run_periodically("look", duty(error), lambda: EVERY))
    assert (told["event"], told["log_level"]) == ("duty.failed", level)


@pytest.mark.rule("loops.2", "loops.3")
async def test_a_mistake_of_ours_is_told_with_its_traceback_once() -> None:
    """As an error, once: not again every thirty seconds."""
    logs = await run_for(300, run_periodically("look", duty(*[KeyError("x")] * 5), lambda: EVERY))
    crashes = [entry for entry in logs if entry["event"] == "duty.crashed"]
    assert len(crashes) == 1
    assert crashes[0]["exc_info"]
    assert crashes[0]["log_level"] == "error"


async def test_being_cancelled_ends_it() -> None:
    """In the middle of a round as well as in a pause."""
    with anyio.move_on_after(5) as scope:
        await run_periodically("look", anyio.sleep_forever, lambda: EVERY)
    assert scope.cancelled_caught
    assert elapsed() == 5


# alarms


async def test_an_alarm_ends_the_pause_early(cluster: Cluster) -> None:
    """Work that has just come in need not wait for the next round."""
    rounds: list[float] = []
    alarm = Wakeup()
    cluster.start(
        run_periodically("look", duty(rounds=rounds), lambda: timedelta(hours=1), alarm)
    ).ignore()
    await anyio.sleep(10)

    alarm.wake()
    await anyio.sleep(10)
    alarm.wake()
    await anyio.sleep(10)

    assert rounds == [0, 10, 20]


@pytest.mark.rule("loops.4")
async def test_an_alarm_during_a_round_is_not_lost(cluster: Cluster) -> None:
    """What came in meanwhile may not have been seen: the next round follows at once."""
    rounds: list[float] = []
    alarm = Wakeup()

    async def slow() -> None:
        rounds.append(elapsed())
        await anyio.sleep(10)

    cluster.start(run_periodically("look", slow, lambda: timedelta(hours=1), alarm)).ignore()
    await anyio.sleep(5)
    alarm.wake()
    alarm.wake()
    await anyio.sleep(100)

    assert rounds == [0, 10]
