"""The table of the life of a task, and its changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from imaged.core.access import Caller
from imaged.core.errors import ClaimLost, InvalidTransition, TaskNotFinal
from imaged.core.task import (
    TASK_TRANSITIONS,
    Progress,
    Task,
    TaskEvent,
    TaskStatus,
    advance,
    cancel,
    claim_task,
    created,
    fail,
    finish_task,
    give_back_task,
    pick_up,
    require_final,
    stamp,
    still_waits_since,
    succeed,
    without_queries,
    worker_lost,
    worker_stopped,
)
from imaged.core.task_access import task_as_seen_by as seen
from support.sample_images import NOW, claim, task

LIFE = {
    ("pending", "picked up", "processing"),
    ("pending", "cancelled", "failure"),
    ("processing", "finished", "success"),
    ("processing", "failed", "failure"),
    ("processing", "cancelled", "failure"),
    ("processing", "holder lost", "pending"),
}

PENDING = task()
PROCESSING = pick_up(PENDING)
SUCCESS = stamp(PROCESSING, succeed(PROCESSING, {"image_id": "i"}), NOW)
FAILURE = stamp(PROCESSING, fail(PROCESSING, "no room"), NOW)
TASKS = (PENDING, PROCESSING, SUCCESS, FAILURE)


def _fail(task: Task) -> Task:
    return fail(task, "no room")


def _succeed(task: Task) -> Task:
    return succeed(task, {"image_id": "i"})


def _lose(task: Task) -> Task:
    return worker_lost(task, "The worker was lost.")


CHANGES: dict[TaskEvent, Callable[[Task], Task]] = {
    TaskEvent.PICKED_UP: pick_up,
    TaskEvent.FINISHED: _succeed,
    TaskEvent.FAILED: _fail,
    TaskEvent.HOLDER_LOST: _lose,
}


def test_the_table_is_the_one_agreed() -> None:
    """The table lists exactly these steps."""
    listed = {
        (str(status), str(event), str(goal))
        for status, row in TASK_TRANSITIONS.items()
        for event, goal in row.items()
    }

    assert listed == LIFE


@pytest.mark.parametrize(("task", "event"), list(product(TASKS, CHANGES)))
def test_every_change_in_every_status(task: Task, event: TaskEvent) -> None:
    """A change follows the table, or is refused."""
    goals = [goal for start, step, goal in LIFE if (start, step) == (task.status, event)]

    if goals:
        assert goals == [CHANGES[event](task).status]
    else:
        with pytest.raises(InvalidTransition):
            CHANGES[event](task)


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


@pytest.mark.parametrize("task", [SUCCESS, FAILURE])
def test_cancelling_a_final_task_changes_nothing(task: Task) -> None:
    """What is over is not ended once more."""
    assert task.is_final
    assert cancel(task, "too late") is task


@pytest.mark.parametrize("task", [PENDING, PROCESSING])
def test_cancelling_ends_a_task(task: Task) -> None:
    """A task that is not final ends as a failure, with the reason."""
    cancelled = cancel(task, "the image was deleted")

    assert not task.is_final
    assert (cancelled.status, cancelled.message) == (TaskStatus.FAILURE, "the image was deleted")


def test_a_stopped_attempt_does_not_count() -> None:
    """A worker that was stopped in good order leaves the task as if it had not come."""
    assert worker_stopped(pick_up(PENDING)) == PENDING


def test_a_final_task_has_its_outcome() -> None:
    """Success has a result and no message, failure the other way round."""
    assert (SUCCESS.result, SUCCESS.message) == ({"image_id": "i"}, None)
    assert (FAILURE.result, FAILURE.message) == (None, "no room")


@pytest.mark.parametrize("end", [_succeed, _fail, lambda task: cancel(task, "enough")])
def test_a_final_task_keeps_no_secret(end: Callable[[Task], Task]) -> None:
    """Nor a claim."""
    ended = end(replace(PROCESSING, sealed=b"sealed", claim=claim()))

    assert (ended.sealed, ended.claim) == (None, None)


def test_a_task_is_about_what_it_made() -> None:
    """Unless it was about another image from the beginning."""
    making = replace(PROCESSING, writes="new")

    assert succeed(making, {}).image_id == "new"
    assert succeed(replace(making, image_id="source"), {}).image_id == "source"
    assert fail(making, "no").image_id is None


def test_a_final_task_expires() -> None:
    """So long after its end as was configured when it was made, and no change moves that on."""
    assert SUCCESS.expires_at == NOW + PENDING.keep_for
    assert stamp(PENDING, PROCESSING, NOW).expires_at is None
    later = NOW + timedelta(hours=1)
    assert stamp(SUCCESS, replace(SUCCESS, message="odd"), later).expires_at == SUCCESS.expires_at


def test_changes_are_dated() -> None:
    """From the beginning; what changes nothing is none."""
    new = created(PENDING, NOW)
    later = NOW + timedelta(hours=1)

    assert (new.created_at, new.updated_at) == (NOW, NOW)
    assert stamp(new, pick_up(new), later).updated_at == later
    assert stamp(new, new, later) is new


def test_progress_is_of_the_attempt_that_runs() -> None:
    """What an attempt says that has ended is left out; a new one begins at nothing."""
    halfway = advance(PROCESSING, 1, Progress("reading", 5, 10), NOW)

    assert halfway.progress == Progress("reading", 5, 10)
    for other, attempt in ((PENDING, 0), (PROCESSING, 2), (SUCCESS, 1)):
        assert advance(other, attempt, Progress("reading"), NOW) is other
    assert pick_up(_lose(halfway)).progress is None


@pytest.mark.parametrize(
    ("done", "total", "percent"),
    [(None, 10, None), (5, None, None), (0, 10, 0), (999, 1000, 99), (0, 0, 100), (12, 10, 100)],
)
def test_progress_in_per_cent(done: int | None, total: int | None, percent: int | None) -> None:
    """Rounded down, never above a hundred, and nothing where the whole is not known."""
    assert Progress("reading", done, total).percent == percent


def test_only_the_holder_finishes_or_gives_back() -> None:
    """A claim that ended, or never was, changes nothing."""
    held = claim_task(PENDING, claim())

    assert held.claim == claim()
    done = finish_task({"a": 1})(held, claim())
    assert (done.status, done.finished_by, done.claim) == (
        TaskStatus.SUCCESS,
        claim().token,
        None,
    )
    late: list[Callable[[], Task]] = [
        lambda: finish_task({})(held, claim(2)),
        lambda: finish_task({})(done, claim()),
        lambda: give_back_task(claim(2), "lost", final=False)(held),
        lambda: give_back_task(claim(), "lost", final=False)(done),
    ]
    for change in late:
        with pytest.raises(ClaimLost):
            change()
    with pytest.raises(InvalidTransition):
        claim_task(held, claim(2))


@pytest.mark.parametrize(
    ("final", "counts", "status", "attempts"),
    [
        (True, True, TaskStatus.FAILURE, 1),
        (False, True, TaskStatus.PENDING, 1),
        (False, False, TaskStatus.PENDING, 0),
    ],
)
def test_work_given_back(final: bool, counts: bool, status: TaskStatus, attempts: int) -> None:
    """Failed for good, lost, or stopped in good order."""
    held = claim_task(PENDING, claim())

    back = give_back_task(claim(), "lost", final=final, counts=counts)(held)

    assert (back.status, back.attempts, back.claim) == (status, attempts, None)


def test_only_final_tasks_are_removed() -> None:
    """What is still to be worked on is refused by its status."""
    require_final(SUCCESS)
    require_final(FAILURE)
    for other in (PENDING, PROCESSING):
        with pytest.raises(TaskNotFinal, match=str(other.status)):
            require_final(other)


def test_a_task_picked_up_in_between_has_not_waited() -> None:
    """Its attempts are as many as before, but the last one began later."""
    begun = stamp(PENDING, PROCESSING, NOW)
    again = stamp(begun, worker_stopped(begun), NOW + timedelta(seconds=1))

    assert again.attempts == PENDING.attempts
    waited = [still_waits_since(PENDING, now) for now in (PENDING, begun, again, SUCCESS)]
    assert waited == [True, False, False, False]
    assert still_waits_since(again, again)


SIGNED = "https://s3.example/b/disk.raw?X-Amz-Signature=made-up"
MASKED = "https://s3.example/b/disk.raw?***"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (SIGNED, MASKED),
        (SIGNED.replace("https", "HTTP"), MASKED.replace("https", "HTTP")),
        (f" {SIGNED}\n", MASKED),
        (
            {"method": {"uri": SIGNED, "name": "web-download"}},
            {"method": {"uri": MASKED, "name": "web-download"}},
        ),
        ([SIGNED, "raw"], [MASKED, "raw"]),
        ("https://s3.example/b/disk.raw", "https://s3.example/b/disk.raw"),
        ("https://s3.example/b/disk.raw?", "https://s3.example/b/disk.raw?"),
        ("is this http://a?b", "is this http://a?b"),
        ("what?", "what?"),
        (512, 512),
        (None, None),
    ],
)
def test_what_is_masked(value: object, shown: object) -> None:
    """URLs that have a query, wherever they stand."""
    assert without_queries({"field": value}) == {"field": shown}


def test_a_task_that_has_ended_keeps_no_query() -> None:
    """However it ended; while it may be tried again, it needs it."""
    asked = task(input={"import_from": SIGNED})
    begun = pick_up(asked)

    assert worker_lost(begun, "It went.").input == {"import_from": SIGNED}
    for ended in (succeed(begun, {}), fail(begun, "no room"), cancel(asked, "enough")):
        assert ended.input == {"import_from": MASKED}


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        (Caller(user="u", project="project-a", roles=frozenset({"member"})), SIGNED),
        (Caller(user="u", project="project-b", roles=frozenset({"admin"})), MASKED),
    ],
)
def test_only_its_project_sees_the_query(caller: Caller, shown: str) -> None:
    """An administrator of another project sees the rest."""
    asked = task(owner="project-a", input={"import_from": SIGNED})

    assert seen(caller, asked).input == {"import_from": shown}
