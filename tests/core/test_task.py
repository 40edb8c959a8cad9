"""The table of the life of a task, and its changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from imaged.core.errors import InvalidTransition
from imaged.core.task import (
    TRANSITIONS,
    Task,
    TaskEvent,
    TaskStatus,
    cancel,
    fail,
    lose,
    pick_up,
    succeed,
)

LIFE = {
    ("pending", "picked up", "processing"),
    ("pending", "cancelled", "failure"),
    ("processing", "finished", "success"),
    ("processing", "failed", "failure"),
    ("processing", "cancelled", "failure"),
    ("processing", "holder lost", "pending"),
}

PENDING = Task("1")
PROCESSING = Task("1", TaskStatus.PROCESSING, attempts=1)
SUCCESS = Task("1", TaskStatus.SUCCESS, attempts=1)
FAILURE = Task("1", TaskStatus.FAILURE, attempts=1, message="no room")
TASKS = (PENDING, PROCESSING, SUCCESS, FAILURE)


def _fail(task: Task) -> Task:
    return fail(task, "no room")


def _lose(task: Task) -> Task:
    return lose(task, "The worker was lost.")


CHANGES: dict[TaskEvent, Callable[[Task], Task]] = {
    TaskEvent.PICKED_UP: pick_up,
    TaskEvent.FINISHED: succeed,
    TaskEvent.FAILED: _fail,
    TaskEvent.HOLDER_LOST: _lose,
}


def test_the_table_is_the_one_agreed() -> None:
    """The table lists exactly these steps."""
    listed = {
        (str(status), str(event), str(goal))
        for status, row in TRANSITIONS.items()
        for event, goal in row.items()
    }

    assert listed == LIFE


def test_every_status_has_a_row() -> None:
    """Also final statuses are in the table."""
    assert set(TRANSITIONS) == set(TaskStatus)


@pytest.mark.parametrize(("task", "event"), list(product(TASKS, CHANGES)))
def test_every_change_in_every_status(task: Task, event: TaskEvent) -> None:
    """A change follows the table, or is refused."""
    goals = [goal for start, step, goal in LIFE if (start, step) == (task.status, event)]

    if goals:
        assert goals == [CHANGES[event](task).status]
    else:
        with pytest.raises(InvalidTransition):
            CHANGES[event](task)


@pytest.mark.parametrize(
    ("task", "is_final"), list(zip(TASKS, (False, False, True, True), strict=True))
)
def test_success_and_failure_are_final(task: Task, is_final: bool) -> None:
    """Nothing happens any more to a task in a final status."""
    assert is_final is task.is_final


def test_picking_up_counts_attempts() -> None:
    """Every worker that begins is one attempt."""
    again = pick_up(_lose(pick_up(PENDING)))

    assert again.attempts == 2


def test_a_lost_task_is_tried_again_so_many_times() -> None:
    """The last lost attempt ends the task, and its message says how many there were."""
    task = PENDING
    for _ in range(task.max_attempts - 1):
        task = _lose(pick_up(task))
        assert task.status is TaskStatus.PENDING
        assert task.message is None
    task = _lose(pick_up(task))

    assert task.status is TaskStatus.FAILURE
    assert task.message == "The worker was lost. That was attempt 3, the last one."


def test_a_failed_task_says_why() -> None:
    """Its owner can read the reason."""
    assert _fail(PROCESSING).message == "no room"


@pytest.mark.parametrize("task", [PENDING, PROCESSING])
def test_cancelling_ends_a_task(task: Task) -> None:
    """A task that is not final ends as a failure, with the reason."""
    cancelled = cancel(task, "the image was deleted")

    assert cancelled.status is TaskStatus.FAILURE
    assert cancelled.message == "the image was deleted"


@pytest.mark.parametrize("task", [SUCCESS, FAILURE])
def test_cancelling_a_final_task_changes_nothing(task: Task) -> None:
    """What is over is not ended once more."""
    assert cancel(task, "too late") is task
