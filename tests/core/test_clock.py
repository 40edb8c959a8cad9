"""Whether a clock can be believed, and what becomes of moments that it cannot explain."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imaged.core.blob import DELETION_RETRIES, Blob, BlobState
from imaged.core.clock import (
    CLOCK_TOLERANCE,
    ClockMark,
    evaluate_clock,
    has_jumped,
    redate_blob,
    step_between,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR, DAY, NONE = timedelta(hours=1), timedelta(days=1), timedelta(0)
UP = timedelta(hours=7)
BEFORE = ClockMark(at=NOON, boot_id="one", uptime=UP)


def later(passed: timedelta, step: timedelta = NONE, boot_id: str = "one") -> ClockMark:
    """The reading after this time, if the clock has stepped by this much."""
    uptime = UP + passed if boot_id == "one" else passed
    return ClockMark(at=NOON + passed + step, boot_id=boot_id, uptime=uptime)


def judge(before: ClockMark, now: ClockMark) -> ClockMark:
    """With the limits of the tests."""
    return evaluate_clock(before, now, HOUR, DAY)


@pytest.mark.parametrize("passed", [NONE, HOUR, 400 * DAY])
@pytest.mark.parametrize("step", [-DAY, -HOUR, NONE, HOUR, 9000 * DAY])
def test_a_step_is_what_time_does_not_explain(passed: timedelta, step: timedelta) -> None:
    """However long ago the last look was: a suspended machine counts on."""
    assert step_between(BEFORE, later(passed, step)) == step


@pytest.mark.parametrize("step", [-HOUR, -timedelta(minutes=59), NONE, HOUR])
def test_a_small_step_is_believed(step: timedelta) -> None:
    """Up to the limit, and the next look compares with this one."""
    now = later(DAY, step)

    assert judge(BEFORE, now) == now


@pytest.mark.parametrize("step", [25 * HOUR, 400 * DAY, -25 * HOUR, HOUR + CLOCK_TOLERANCE])
def test_a_step_is_waited_out(step: timedelta) -> None:
    """For as long as it skipped, and the longest delay: then nothing is due too early by it."""
    wait = max(abs(step), DAY)
    held = judge(BEFORE, later(HOUR, step))
    almost = judge(held, later(HOUR + wait - CLOCK_TOLERANCE, step))
    over = judge(almost, end := later(HOUR + wait, step))

    assert (held.is_held, held.step, held.at) == (True, step, NOON)
    assert almost == held
    assert over == end


def test_a_step_that_is_undone_is_over() -> None:
    """At once: the clock is where it would have been."""
    held = judge(BEFORE, later(HOUR, 25 * HOUR))

    assert judge(held, now := later(2 * HOUR)) == now


def test_a_clock_that_is_set_right_waits_over_boots() -> None:
    """No longer than the delay and the time that passed, however far behind it was."""
    held = judge(BEFORE, later(HOUR, -9000 * DAY))
    right = judge(held, later(2 * HOUR))
    other = judge(right, later(HOUR, 3 * HOUR, "two"))

    assert (right.step, right.held_until) == (DAY, UP + 2 * HOUR + DAY)
    assert other.held_until == HOUR + DAY + 2 * HOUR


def test_a_second_step_is_waited_out_too() -> None:
    """From when it is seen, and in full."""
    held = judge(BEFORE, later(HOUR, 25 * HOUR))
    again = judge(held, later(20 * HOUR, 99 * HOUR))

    assert (again.step, again.held_until) == (99 * HOUR, UP + 119 * HOUR)


def test_a_machine_that_was_off_goes_on_when_its_clock_goes_evenly() -> None:
    """An unknown time passed, so the clock is observed for a while."""
    held = judge(BEFORE, later(NONE, 3 * DAY, "two"))
    still = judge(held, later(HOUR - CLOCK_TOLERANCE, 3 * DAY, "two"))
    over = judge(still, now := later(HOUR, 3 * DAY, "two"))

    assert held.is_held
    assert still == held
    assert over == now


def test_a_machine_that_starts_with_a_clock_of_the_past() -> None:
    """Time does not go back. What was dated by it is due a delay after it is set right."""
    held = judge(BEFORE, later(NONE, -9000 * DAY, "two"))

    assert held.held_until == 9000 * DAY
    right = judge(held, later(HOUR, NONE, "two"))
    assert right.held_until == HOUR + DAY
    assert judge(right, later(HOUR + DAY - CLOCK_TOLERANCE, NONE, "two")) == right
    assert judge(right, now := later(HOUR + DAY, NONE, "two")) == now


def test_a_step_is_not_forgotten_by_a_boot() -> None:
    """What was being waited out is waited out in full by the machine that starts next."""
    held = judge(BEFORE, later(HOUR, 25 * HOUR))
    other = judge(held, later(2 * HOUR, 25 * HOUR, "two"))

    assert other.held_until == 2 * HOUR + 27 * HOUR


def test_a_short_stop_of_a_machine_is_nothing() -> None:
    """A reboot takes less than the limit."""
    now = later(NONE, HOUR / 2, "two")

    assert judge(BEFORE, now) == now


@pytest.mark.parametrize("step", [2 * CLOCK_TOLERANCE, -2 * CLOCK_TOLERANCE, DAY])
def test_leases_mind_every_step(step: timedelta) -> None:
    """Also those that no delay minds; a drift is none, nor what slow readings explain."""
    assert has_jumped(BEFORE, later(DAY, step), HOUR, NONE)
    assert not has_jumped(BEFORE, later(DAY, CLOCK_TOLERANCE), HOUR, NONE)
    assert not has_jumped(BEFORE, later(NONE, HOUR, "two"), HOUR, NONE)
    assert not has_jumped(BEFORE, later(DAY, step), HOUR, abs(step) - CLOCK_TOLERANCE)


STRAY = Blob("k", "s", 1, BlobState.DOOMED, 0)
WEEK = 7 * DAY


@pytest.mark.parametrize(
    ("blob", "longest", "wait"),
    [
        (STRAY, DAY, DAY),
        (replace(STRAY, failures=3), DELETION_RETRIES.longest_pause, NONE),
        (replace(STRAY, is_swept=True), DELETION_RETRIES.longest_pause, NONE),
        (replace(STRAY, awaited_by="i"), DELETION_RETRIES.longest_pause, NONE),
    ],
    ids=["perhaps a stray", "failed", "swept", "awaited"],
)
def test_a_doomed_blob_waits_for_what_explains_it(
    blob: Blob, longest: timedelta, wait: timedelta
) -> None:
    """Up to that its moment stays; beyond, it has a new one."""
    explained = replace(blob, due_at=NOON + longest)

    assert redate_blob(explained, NOON, DAY) == explained
    assert redate_blob(replace(blob, due_at=NOON + WEEK), NOON, DAY).due_at == NOON + wait
    assert redate_blob(replace(blob, due_at=NOON - WEEK), NOON, DAY).due_at == NOON - WEEK


def test_blobs_that_are_not_doomed_have_no_due_time() -> None:
    """It stays as it is."""
    kept = Blob("k", "s", 1, BlobState.KEPT)

    assert redate_blob(kept, NOON, DAY) is kept
