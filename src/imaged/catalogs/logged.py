"""A catalog that reports every change of status once: as an event in the log; tasks also to a hook.

It wraps any other catalog, so services cannot forget to report and drivers need not. It reports
committed changes. A change whose outcome is unknown (``CatalogError``) is not reported.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import structlog

from imaged.catalogs.delegating import DelegatingCatalog
from imaged.core.errors import ImagedError
from imaged.core.image import Change, Image
from imaged.core.lifecycle import Event, Status, event_between
from imaged.core.task import Task, TaskChange
from imaged.ports.catalog import Catalog

log = structlog.get_logger()

CREATED = "created"


class TaskHook(Protocol):
    """Called for every change of a task's status; a counter, for example."""

    def __call__(self, before: Task | None, after: Task) -> None:
        """``before`` is None for a new task."""
        ...


def _no_task_hook(before: Task | None, after: Task) -> None:
    del before, after


class LoggedCatalog(DelegatingCatalog):
    """Delegates to the inner catalog, and logs the lives of its images and tasks."""

    def __init__(self, catalog: Catalog, task_hook: TaskHook = _no_task_hook) -> None:
        super().__init__(catalog)
        self._task_hook = task_hook

    async def add_image(self, image: Image) -> Image:
        """Store a new image and log it; of a hidden image, log only its task."""
        added = await self._catalog.add_image(image)
        if not added.draft:
            self._log_image_status(None, CREATED, added)
        self._log_task_status(None, added.task)
        return added

    async def add_task(self, task: Task) -> Task:
        """Store a new task, and log it."""
        added = await self._catalog.add_task(task)
        self._log_task_status(None, added)
        return added

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a change, and log it if it changed the status."""
        seen: list[tuple[Image, Image]] = []

        def noting(image: Image) -> Image:
            after = change(image)
            seen[:] = [(image, after)]  # the last call counts, if there are several
            return after

        after = await self._catalog.modify_image(image_id, noting)
        ((before, changed),) = seen
        if before.draft and not after.draft:
            self._log_image_status(before, CREATED, after)
        elif after.status is not before.status and not after.draft:
            because = event_between(before.status, after.status)
            self._log_image_status(before, because, after)
        self._log_task_status(before.task, changed.task)
        return after

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a change, and log it; log the image too if its status changed with it."""
        seen: list[tuple[Task, Task]] = []

        def noting(task: Task) -> Task:
            after = change(task)
            seen[:] = [(task, after)]
            return after

        task = await self._catalog.modify_task(task_id, noting)
        ((before, _),) = seen
        self._log_task_status(before, task)
        if task.writes is not None and task.is_final and not before.is_final:
            await self._log_failed_task_image(task.writes, task)
        return task

    async def remove_blob(self, key: str) -> Image | None:
        """Remove a row, and log the image that became deleted by it."""
        deleted = await self._catalog.remove_blob(key)
        if deleted is not None:
            self._log_image_status(
                replace(deleted, status=Status.PENDING_DELETE), Event.SCRUBBED, deleted
            )
        return deleted

    def _log_image_status(self, before: Image | None, because: Event | str, after: Image) -> None:
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
            reason=_new_reason(before, after),
            claim_id=claim and str(claim.token),  # also one that this began or ended
            task_id=task and task.id,
        )

    async def _log_failed_task_image(self, image_id: str, task: Task) -> None:
        """Log the image of a task that was ended; if it cannot be read, log nothing."""
        with suppress(ImagedError):
            image = await self._catalog.get_image(image_id)
            if not image.draft:
                before = replace(image, status=Status.IMPORTING, task=task, last_failure=None)
                status = Status.QUEUED if image.staged is None else Status.UPLOADING
                because = event_between(Status.IMPORTING, status)
                self._log_image_status(before, because, replace(image, status=status))

    def _log_task_status(self, before: Task | None, after: Task | None) -> None:
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
        self._task_hook(before, after)


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
