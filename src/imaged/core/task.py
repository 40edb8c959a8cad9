"""A task: long work that somebody asked for, and that outlives the worker doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from imaged.core.errors import InvalidTransition


class TaskStatus(StrEnum):
    """The statuses of the OpenStack Image API v2; success and failure are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILURE = "failure"


class TaskEvent(StrEnum):
    """What can happen to a task. Expiry is no event: it removes the record."""

    PICKED_UP = "picked up"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HOLDER_LOST = "holder lost"


TRANSITIONS: Mapping[TaskStatus, Mapping[TaskEvent, TaskStatus]] = {
    TaskStatus.PENDING: {
        TaskEvent.PICKED_UP: TaskStatus.PROCESSING,
        TaskEvent.CANCELLED: TaskStatus.FAILURE,
    },
    TaskStatus.PROCESSING: {
        TaskEvent.FINISHED: TaskStatus.SUCCESS,
        TaskEvent.FAILED: TaskStatus.FAILURE,
        TaskEvent.CANCELLED: TaskStatus.FAILURE,
        TaskEvent.HOLDER_LOST: TaskStatus.PENDING,
    },
    TaskStatus.SUCCESS: {},
    TaskStatus.FAILURE: {},
}


@dataclass(frozen=True, slots=True)
class Task:
    """A writing task; it travels inside the image that it writes."""

    id: str
    status: TaskStatus = TaskStatus.PENDING
    attempts: int = 0
    max_attempts: int = 3
    message: str | None = None  # why it failed, for its owner; null otherwise

    @property
    def is_final(self) -> bool:
        """Nothing happens to it any more."""
        return not TRANSITIONS[self.status]


def pick_up(task: Task) -> Task:
    """A worker begins another attempt."""
    return replace(_after(task, TaskEvent.PICKED_UP), attempts=task.attempts + 1)


def succeed(task: Task) -> Task:
    """The work is done."""
    return _after(task, TaskEvent.FINISHED)


def fail(task: Task, why: str) -> Task:
    """The work cannot be done; another attempt would not help."""
    return replace(_after(task, TaskEvent.FAILED), message=why)


def cancel(task: Task, why: str) -> Task:
    """Somebody ended it, or it may not even begin. A final task stays as it is."""
    return task if task.is_final else replace(_after(task, TaskEvent.CANCELLED), message=why)


def lose(task: Task, why: str) -> Task:
    """Its worker has gone. Another may try, so many times."""
    if task.attempts < task.max_attempts:
        return _after(task, TaskEvent.HOLDER_LOST)
    return fail(task, f"{why} That was attempt {task.attempts}, the last one.")


def _after(task: Task, event: TaskEvent) -> Task:
    try:
        return replace(task, status=TRANSITIONS[task.status][event])
    except KeyError:
        raise InvalidTransition(task.status, event) from None
