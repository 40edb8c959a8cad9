"""A task: long work on images, requested by a call, that outlives the worker running it.

Rule 1: no other module decides the next status; a transition not in the table is refused.
Rule 2: a final task does not change, keeps no secret and no query of a URL, and is removed when it
expires.
Rule 3: a task that writes an image is stored in that image (``image.task``) until it is final, and
its claim is the image's. Only tasks that write no image have a claim of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from imaged.core.claim import Claim, require_claim
from imaged.core.errors import InvalidTransition, TaskNotFinal

KEEP_FOR = timedelta(hours=48)
MAX_ATTEMPTS = 3

IMAGE_DELETED = "The image was deleted."

QUERY_MASK = "***"
_WITH_QUERY = re.compile(r"(?P<before>https?://[^?#]*)\?.+", re.IGNORECASE | re.DOTALL)


class TaskStatus(StrEnum):
    """The statuses of the OpenStack Image API v2; success and failure are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILURE = "failure"


class TaskEvent(StrEnum):
    """The events in the life of a task. Expiry is not an event: it removes the record."""

    PICKED_UP = "picked up"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HOLDER_LOST = "holder lost"


TASK_TRANSITIONS: Mapping[TaskStatus, Mapping[TaskEvent, TaskStatus]] = {
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

FINAL_STATUSES = frozenset(status for status, row in TASK_TRANSITIONS.items() if not row)


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """Properties of a task type that do not depend on its implementation."""

    name: str  # as in the API
    is_creatable: bool = True  # by POST /v2/tasks; other types are created by other calls
    max_attempts: int = MAX_ATTEMPTS  # attempts that may end by the loss of a worker
    place_field: str | None = None  # the field of its input that names a place with limited slots
    secrets: frozenset[str] = frozenset()  # fields of its input that are never returned


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an attempt. Bytes are None if they do not apply or are not known yet."""

    phase: str  # the current step, in one or two words for its owner: "fetching"
    done_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def percent(self) -> int | None:
        """0 to 100, rounded down; None if unknown."""
        if self.done_bytes is None or self.total_bytes is None:
            return None
        return min(100 * self.done_bytes // self.total_bytes, 100) if self.total_bytes else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task. ``owner``, ``user_id`` and ``roles`` are those of the caller that created it."""

    id: str
    type: str
    owner: str
    user_id: str = ""
    roles: tuple[str, ...] = ()
    request_id: str | None = None  # of the call that created it
    input: Mapping[str, object] = field(default_factory=dict)  # without secret fields
    sealed: bytes | None = None  # the secret part of the input, encrypted; until it is final
    image_id: str | None = None  # the image that it concerns, and is listed under
    writes: str | None = None  # the image that it writes, perhaps a draft
    # Its status.
    status: TaskStatus = TaskStatus.PENDING
    attempts: int = 0
    max_attempts: int = MAX_ATTEMPTS
    progress: Progress | None = None
    result: Mapping[str, object] | None = None  # success only
    message: str | None = None  # failure only: one sentence, for its owner
    keep_for: timedelta = KEEP_FOR  # after it is final
    expires_at: datetime | None = None  # set when it is final
    created_at: datetime | None = None  # all three set by the catalog, by its clock
    updated_at: datetime | None = None
    begun_at: datetime | None = None  # start of the last attempt, by the same clock
    # The work on it, unless it writes an image: then that image has the claim and the attempt.
    claim: Claim | None = None
    finished_by: UUID | None = None

    @property
    def is_final(self) -> bool:
        """Whether no further event is possible."""
        return self.status in FINAL_STATUSES


TaskChange = Callable[[Task], Task]
ClaimedTaskChange = Callable[[Task, Claim], Task]  # only the holder of a claim can make it


def pick_up(task: Task) -> Task:
    """A worker begins another attempt."""
    return replace(_after(task, TaskEvent.PICKED_UP), attempts=task.attempts + 1, progress=None)


def succeed(task: Task, result: Mapping[str, object]) -> Task:
    """The work is done. A task that created an image concerns that image from now on."""
    image_id = task.writes if task.image_id is None else task.image_id
    return _ended(task, TaskEvent.FINISHED, result=result, image_id=image_id)


def fail(task: Task, why: str) -> Task:
    """The work is impossible; another attempt would not help."""
    return _ended(task, TaskEvent.FAILED, message=why)


def cancel(task: Task, why: str) -> Task:
    """A caller ended the task, or it may not begin. A final task does not change."""
    return task if task.is_final else _ended(task, TaskEvent.CANCELLED, message=why)


def worker_lost(task: Task, why: str) -> Task:
    """The worker was lost. Another one may try, up to ``max_attempts``."""
    if task.attempts < task.max_attempts:
        return replace(_after(task, TaskEvent.HOLDER_LOST), claim=None)
    return fail(task, f"{why} That was attempt {task.attempts}, the last one.")


def worker_stopped(task: Task) -> Task:
    """The worker was stopped regularly; such an attempt does not count."""
    attempts = max(task.attempts - 1, 0)
    return replace(_after(task, TaskEvent.HOLDER_LOST), attempts=attempts, claim=None)


# For tasks that write no image: the claim is their own.


def claim_task(task: Task, claim: Claim) -> Task:
    """Claim the task. Raises InvalidTransition."""
    return replace(pick_up(task), claim=claim)


def finish_task(result: Mapping[str, object]) -> ClaimedTaskChange:
    """The work is done, and the claim ends. Raises ClaimLost."""

    def change(task: Task, claim: Claim) -> Task:
        require_claim(task.claim, claim)
        return replace(succeed(task, result), finished_by=claim.token)

    return change


def give_back_task(lost: Claim, why: str, *, final: bool, counts: bool = True) -> TaskChange:
    """Claimed work ends without a result. Raises ClaimLost.

    ``final``: the work failed, and another attempt would not help.
    ``counts``: whether the attempt counts; False if its worker was stopped regularly.
    """

    def change(task: Task) -> Task:
        require_claim(task.claim, lost)
        return ended_attempt(task, why, final=final, counts=counts)

    return change


def ended_attempt(task: Task, why: str, *, final: bool, counts: bool) -> Task:
    """The task after an attempt that ended without a result."""
    if final:
        return fail(task, why)
    return worker_lost(task, why) if counts else worker_stopped(task)


def still_waits_since(seen: Task, now: Task) -> bool:
    """Whether a pending task is still in the same wait for a worker as when it was seen."""
    return now.status is TaskStatus.PENDING and now.begun_at == seen.begun_at


def require_final(task: Task) -> None:
    """Raise TaskNotFinal for a task that has not ended."""
    if not task.is_final:
        raise TaskNotFinal(task.id, task.status)


def created(task: Task, now: datetime) -> Task:
    """Set the creation time."""
    return replace(task, created_at=now, updated_at=now)


def stamp(before: Task, after: Task, now: datetime) -> Task:
    """Set the times of the change, of the start of an attempt, and of a final task's expiry."""
    if after == before:
        return before
    expires_at = now + after.keep_for if after.is_final else None
    if before.is_final:
        expires_at = before.expires_at
    begun_at = now if after.attempts > before.attempts else before.begun_at
    return replace(after, updated_at=now, expires_at=expires_at, begun_at=begun_at)


def advance(task: Task, attempt: int, progress: Progress, now: datetime) -> Task:
    """Record the progress of an attempt. Progress of an attempt that has ended is ignored."""
    if task.status is not TaskStatus.PROCESSING or task.attempts != attempt:
        return task
    return replace(task, progress=progress, updated_at=now)


def without_queries(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields, at any depth, with a mask for the query of each value that is a URL.

    The query of a URL, such as a presigned one of an object store, may be a credential. It is kept
    as long as the task needs it, and shown only to the project that sent it.
    """
    return {name: _masked(value) for name, value in fields.items()}


def _masked(value: object) -> object:
    match value:
        case str():
            found = _WITH_QUERY.fullmatch(value.strip())
            return f"{found['before']}?{QUERY_MASK}" if found else value
        case Mapping():
            return without_queries(value)
        case list():
            return [_masked(item) for item in value]
        case _:
            return value


def _ended(
    task: Task,
    event: TaskEvent,
    *,
    result: Mapping[str, object] | None = None,
    message: str | None = None,
    image_id: str | None = None,
) -> Task:
    after = _after(task, event)
    return replace(
        after,
        input=without_queries(after.input),
        result=result,
        message=message,
        image_id=image_id or task.image_id,
        sealed=None,
        claim=None,
    )


def _after(task: Task, event: TaskEvent) -> Task:
    try:
        return replace(task, status=TASK_TRANSITIONS[task.status][event])
    except KeyError:
        raise InvalidTransition(task.status, event) from None
