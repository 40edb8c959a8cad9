"""A catalog that tells of every change of status, once: as an event in the log, and to hooks.

It stands around any other catalog, so that no service can forget to tell and no driver needs to.
What is told was committed. A change whose fate is unknown (``CatalogError``) is not told of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog

from imaged.core.blob import Blob
from imaged.core.claim import Claim, InstanceId
from imaged.core.errors import ImagedError
from imaged.core.image import Change, Image, Location
from imaged.core.ledger import Account
from imaged.core.lifecycle import Event, Status, event_between
from imaged.core.query import ImageQuery
from imaged.core.summary import Instance, Summary
from imaged.core.task import Progress, Task, TaskChange
from imaged.core.task_query import TaskQuery
from imaged.ports.catalog import Catalog, Lapsed

log = structlog.get_logger()

CREATED = "created"


class StatusHook(Protocol):
    """Is told of every change of status; a counter, for example."""

    def __call__(self, before: Status | None, after: Status, because: Event | str) -> None:
        """``before`` is None for a new image."""
        ...


class TaskHook(Protocol):
    """The same for tasks."""

    def __call__(self, before: Task | None, after: Task) -> None:
        """``before`` is None for a new task."""
        ...


def _tell_nobody(before: Status | None, after: Status, because: Event | str) -> None:
    del before, after, because


def _tell_nobody_of_task(before: Task | None, after: Task) -> None:
    del before, after


class JournaledCatalog(Catalog):
    """The catalog within, with a journal of its images' and tasks' lives."""

    def __init__(
        self,
        catalog: Catalog,
        hook: StatusHook = _tell_nobody,
        task_hook: TaskHook = _tell_nobody_of_task,
    ) -> None:
        self._catalog = catalog
        self._hook = hook
        self._task_hook = task_hook

    # what changes statuses

    async def add_image(self, image: Image) -> Image:
        """Store a new image, and tell of it; of a draft nobody is told, but of its task."""
        added = await self._catalog.add_image(image)
        if not added.draft:
            self._tell(None, CREATED, added)
        self._tell_of_task(None, added.task)
        return added

    async def add_task(self, task: Task) -> Task:
        """Store a new task, and tell of it."""
        added = await self._catalog.add_task(task)
        self._tell_of_task(None, added)
        return added

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a change, and tell of it if it was one of status."""
        seen: list[tuple[Image, Image]] = []

        def noting(image: Image) -> Image:
            after = change(image)
            seen[:] = [(image, after)]  # the last time counts, if there are several
            return after

        after = await self._catalog.modify_image(image_id, noting)
        ((before, changed),) = seen
        if before.draft and not after.draft:
            self._tell(before, CREATED, after)
        elif after.status is not before.status and not after.draft:
            because = event_between(before.status, after.status)
            self._tell(before, because, after)
        self._tell_of_task(before.task, changed.task)
        return after

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a change, and tell of it; and of the image, if that is another one by it."""
        seen: list[tuple[Task, Task]] = []

        def noting(task: Task) -> Task:
            after = change(task)
            seen[:] = [(task, after)]
            return after

        task = await self._catalog.modify_task(task_id, noting)
        ((before, _),) = seen
        self._tell_of_task(before, task)
        if task.writes is not None and task.is_final and not before.is_final:
            await self._tell_of_failed(task.writes, task)
        return task

    async def forget(self, key: str) -> Image | None:
        """Let a row leave, and tell of the image that became deleted by it."""
        deleted = await self._catalog.forget(key)
        if deleted is not None:
            self._tell(replace(deleted, status=Status.PENDING_DELETE), Event.SCRUBBED, deleted)
        return deleted

    def _tell(self, before: Image | None, because: Event | str, after: Image) -> None:
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
            claim_id=claim and str(claim.token),  # also of the claim that the change began or ended
            task_id=task and task.id,
        )
        self._hook(from_status, after.status, because)

    async def _tell_of_failed(self, image_id: str, task: Task) -> None:
        """Of the image of a task that was ended; where it cannot be read, nothing is told."""
        with suppress(ImagedError):
            image = await self._catalog.get_image(image_id)
            if not image.draft:
                before = replace(image, status=Status.IMPORTING, task=task, last_failure=None)
                self._tell(before, Event.IMPORT_FAILED, replace(image, status=Status.QUEUED))

    def _tell_of_task(self, before: Task | None, after: Task | None) -> None:
        if after is None or before is after:
            return
        before = None if before is None or before.id != after.id else before
        if before is not None and before.status is after.status:
            return
        log.info(
            "task.status",
            task_id=after.id,  # not bound where it is asked for, or ended from elsewhere
            task_type=after.type,
            from_status=before and before.status.value,
            to_status=after.status.value,
            owner=after.owner,
            attempts=after.attempts,
            image_id=after.image_id or (after.writes if after.result else None),
            reason=after.message,
        )
        self._task_hook(before, after)

    # what does not

    async def check(self) -> None:
        """As the catalog within."""
        await self._catalog.check()

    async def get_image(self, image_id: str) -> Image:
        """As the catalog within."""
        return await self._catalog.get_image(image_id)

    async def list_images(self, query: ImageQuery) -> Sequence[Image]:
        """As the catalog within."""
        return await self._catalog.list_images(query)

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """As the catalog within."""
        return await self._catalog.find_expirable(delay, limit)

    async def get_task(self, task_id: str) -> Task:
        """As the catalog within."""
        return await self._catalog.get_task(task_id)

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """As the catalog within."""
        return await self._catalog.list_tasks(query)

    async def count_unfinished_tasks(self, owner: str) -> int:
        """As the catalog within."""
        return await self._catalog.count_unfinished_tasks(owner)

    async def advance_task(self, task_id: str, attempt: int, progress: Progress) -> None:
        """As the catalog within."""
        await self._catalog.advance_task(task_id, attempt, progress)

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """As the catalog within."""
        return await self._catalog.find_pending_tasks(types, limit)

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """As the catalog within."""
        await self._catalog.remove_task(task_id, allow)

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """As the catalog within."""
        return await self._catalog.expire_tasks(limit)

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """As the catalog within."""
        return await self._catalog.find_staged(idle_for, limit)

    async def bury(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """As the catalog within."""
        return await self._catalog.bury(deleted_for, limit)

    async def get_blob(self, key: str) -> Blob | None:
        """As the catalog within."""
        return await self._catalog.get_blob(key)

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """As the catalog within."""
        return await self._catalog.take_doomed(limit, busy_for)

    async def peek_doomed(self, limit: int) -> Sequence[Blob]:
        """As the catalog within."""
        return await self._catalog.peek_doomed(limit)

    async def note_upload(self, key: str, upload_id: str) -> None:
        """As the catalog within."""
        await self._catalog.note_upload(key, upload_id)

    async def look_again(self, key: str, after: timedelta) -> None:
        """As the catalog within."""
        await self._catalog.look_again(key, after)

    async def put_off(self, key: str, why: str) -> Blob | None:
        """As the catalog within."""
        return await self._catalog.put_off(key, why)

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """As the catalog within."""
        return await self._catalog.add_stray(location, quarantine)

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """As the catalog within."""
        return await self._catalog.list_keys(store, prefix)

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """As the catalog within."""
        return await self._catalog.list_kept(store, prefix)

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """As the catalog within."""
        return await self._catalog.renew_leases(claims)

    async def find_lapsed(self, limit: int) -> Sequence[Lapsed]:
        """As the catalog within."""
        return await self._catalog.find_lapsed(limit)

    async def list_attempts(self) -> Collection[UUID]:
        """As the catalog within."""
        return await self._catalog.list_attempts()

    async def set_limit(self, owner: str, limit_bytes: int | None) -> Account:
        """As the catalog within."""
        return await self._catalog.set_limit(owner, limit_bytes)

    async def get_account(self, owner: str) -> Account:
        """As the catalog within."""
        return await self._catalog.get_account(owner)

    async def beat(self, instance: Instance, forget_after: timedelta) -> None:
        """As the catalog within."""
        await self._catalog.beat(instance, forget_after)

    async def leave(self, instance_id: InstanceId) -> None:
        """As the catalog within."""
        await self._catalog.leave(instance_id)

    async def summarize(self) -> Summary:
        """As the catalog within."""
        return await self._catalog.summarize()


def _new_reason(before: Image | None, after: Image) -> str | None:
    """Why work failed, where it was this change that said so."""
    failure = after.last_failure
    if failure is None or (before is not None and failure == before.last_failure):
        return None
    return failure.reason


def _task_at(before: Image | None, after: Image) -> Task | None:
    """The task whose work the change was a step of."""
    for image in (before, after):
        if image is not None and image.status is Status.IMPORTING:
            return image.task
    return None
