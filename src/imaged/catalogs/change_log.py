"""Logs every change of status once: of an image, and of a task.

An SQL catalog calls it after the commit, so services cannot forget to report. A change whose
outcome is unknown (``CatalogError``) is not reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from imaged.core.image import Image
from imaged.core.lifecycle import Event, Status, event_between
from imaged.core.task import Task

log = structlog.get_logger()

CREATED = "created"

#: Called for every change of a task's status, before and after; a counter, for example. There is
#: nothing before a new task.
TaskHook = Callable[[Task | None, Task], None]


class ChangeLog:
    """Logs the lives of images and tasks."""

    def __init__(self, task_hook: TaskHook | None = None) -> None:
        self._task_hook = task_hook

    def image_changed(self, before: Image | None, after: Image) -> None:
        """Log an image and its task, if their statuses differ; of a hidden image only its task."""
        if not after.draft:
            if before is None or before.draft:
                _log_image(before, CREATED, after)
            elif after.status is not before.status:
                _log_image(before, event_between(before.status, after.status), after)
        self.task_changed(None if before is None else before.task, after.task)

    def image_scrubbed(self, after: Image) -> None:
        """Log an image that became deleted with its last bytes."""
        _log_image(replace(after, status=Status.PENDING_DELETE), Event.SCRUBBED, after)

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


def _log_image(before: Image | None, because: Event | str, after: Image) -> None:
    from_status = before.status if before and not before.draft else None
    claim = (before and before.claim) or after.claim
    task = _task_at(before, after)
    log.info(
        "image.status",
        image_id=after.id,  # not bound: an image that is new, or that lost its last bytes
        from_status=from_status and from_status.value,
        to_status=after.status.value,
        because=str(because),
        owner=after.owner,
        size_bytes=after.content and after.content.size_bytes,
        reason=_new_reason(before, after),
        claim_id=claim and str(claim.token),  # also one that this began or ended
        task_id=task and task.id,
    )


def _new_reason(before: Image | None, after: Image) -> str | None:
    """The reason of a failure, if this change set it."""
    failure = after.last_failure
    if failure is None or (before is not None and failure == before.last_failure):
        return None
    return failure.reason


def _task_at(before: Image | None, after: Image) -> Task | None:
    """The task that the change was a step of."""
    for image in (before, after):
        if image is not None and image.status is Status.IMPORTING:
            return image.task
    return None
