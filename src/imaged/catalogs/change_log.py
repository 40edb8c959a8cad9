"""Logs what happened to an image, and every change of a task's status, once.

An SQL catalog calls it after the commit, so services cannot forget to report. A change whose
outcome is unknown (``CatalogError``) is not reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog
from structlog.contextvars import get_contextvars

from imaged.core.history import Actor, action_between, details_of, task_at
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.task import Task

log = structlog.get_logger()

#: Called for every change of a task's status, before and after; a counter, for example. There is
#: nothing before a new task.
TaskHook = Callable[[Task | None, Task], None]


class ChangeLog:
    """Logs the lives of images and tasks."""

    def __init__(self, task_hook: TaskHook | None = None) -> None:
        self._task_hook = task_hook

    def image_changed(self, before: Image | None, after: Image) -> None:
        """Log what happened to an image, if anything; and to its task."""
        _log_image(before, after)
        self.task_changed(None if before is None else before.task, after.task)

    def image_scrubbed(self, after: Image) -> None:
        """Log an image that became deleted with its last bytes."""
        _log_image(replace(after, status=Status.PENDING_DELETE), after)

    def task_changed(self, before: Task | None, after: Task | None) -> None:
        """Log a task, if its status differs."""
        if after is None or before is after:
            return
        before = None if before is None or before.id != after.id else before
        if before is not None and before.status is after.status:
            return
        log.info(
            "task.status",
            task_id=after.id,  # not bound in a request, or when another process ended it
            task_type=after.type,
            from_status=before and before.status.value,
            to_status=after.status.value,
            owner=after.owner,
            attempts=after.attempts,
            image_id=after.image_id or (after.writes if after.result else None),
            reason=after.message,
        )
        if self._task_hook is not None:
            self._task_hook(before, after)


def bound_actor() -> Actor:
    """On whose behalf the current change is made: the history says what the log says."""
    return Actor.of(get_contextvars())


def _log_image(before: Image | None, after: Image) -> None:
    action = action_between(before, after)
    if action is None:
        return
    from_status = before.status if before and not before.draft else None
    claim = (before and before.claim) or after.claim
    task = task_at(before, after)
    log.info(
        action.event,
        image_id=after.id,  # not bound: an image that is new, or that lost its last bytes
        from_status=from_status and from_status.value,
        to_status=after.status.value,
        owner=after.owner,
        **details_of(action, before, after),
        claim_id=claim and str(claim.token),  # also one that this began or ended
        task_id=task and task.id,
    )
