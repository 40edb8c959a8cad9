"""The images and tasks of the catalog in memory, and all that changes with one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from anyio.lowlevel import checkpoint
from structlog.contextvars import get_contextvars

from imaged.core import ledger
from imaged.core import task as task_rules
from imaged.core.blob import Blob
from imaged.core.claim import Claim
from imaged.core.errors import ImageExists, ImageNotFound, TaskNotFound
from imaged.core.history import HISTORY_LIMIT, Actor, HistoryEntry, ImageHistory, entry_of
from imaged.core.image import Change, Image
from imaged.core.lifecycle import Status
from imaged.core.query import (
    ImagePage,
    ImageQuery,
    TaskQuery,
    page_of_images,
    page_of_tasks,
    page_within,
)
from imaged.core.task import Progress, Task, TaskChange, TaskStatus, require_final
from imaged.core.uploading import change_task
from imaged.ports.image_catalog import LapsedClaim
from imaged.testing.memory_accounts import MemoryAccounts
from imaged.testing.memory_timestamps import Clock

T = TypeVar("T")
MomentOf = Callable[[T], datetime | None]


class MemoryImages(MemoryAccounts):
    """The records that one change of an image may write, and the calls for images."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.history: dict[str, list[HistoryEntry]] = {}  # by the id of the image
        self.tombstones: set[str] = set()
        self.blobs: dict[str, Blob] = {}
        self.block_checksums: dict[str, bytes] = {}  # by the key of the blob
        self.tasks: dict[str, Task] = {}
        self.leases: dict[Claim, tuple[datetime, LapsedClaim]] = {}  # lapsed until then

    async def add_image(self, image: Image) -> Image:
        """Store a new image; returns it with its timestamps. Raises ImageExists."""
        await checkpoint()
        if image.id in self.images or image.id in self.tombstones:
            raise ImageExists(image.id)
        image = ledger.created(image, self._clock.now())
        self._charge(None, image)
        self.images[image.id] = image
        self._add_entry(None, image)
        if image.task is not None:
            self.tasks[image.task.id] = image.task
        return image

    async def get_image(self, image_id: str) -> Image:
        """Return the image. Raises ImageNotFound."""
        await checkpoint()
        return self._image(image_id)

    async def get_history(self, image_id: str) -> ImageHistory:
        """Return the image with its history. Raises ImageNotFound."""
        await checkpoint()
        return ImageHistory(self._image(image_id), self.history.get(image_id, ()))

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Return the beginning of the page that ``core/query`` describes, up to this long."""
        await checkpoint()
        return page_within(page_of_images(list(self.images.values()), query), max_bytes)

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a change and its consequences."""
        await checkpoint()
        return self._modify(image_id, change)

    def _modify(self, image_id: str, change: Change) -> Image:
        """Compute all records first, then write."""
        before = self._image(image_id)
        after = change(before)
        if after is before:
            return before
        now = self._clock.now()
        keys = ledger.touched(before, after)
        known = {key: self.blobs[key] for key in keys if key in self.blobs}
        after, rows = ledger.settle(before, after, known, now)
        self._charge(before, after)
        self.blobs.update({blob.key: blob for blob in rows})
        if after.task is not None:
            self.tasks[after.task.id] = after.task
        self.block_checksums.update(ledger.block_checksums_of(after))
        after = ledger.without_ended_task(ledger.without_block_checksums(after))
        self.images[image_id] = after
        self._add_entry(before, after)
        self._move_claim(before.claim, after.claim, lambda claim: LapsedClaim(claim, image_id))
        return after

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """Restorable images in pending_delete for at least this long, the longest first."""
        await checkpoint()
        waiting = self._in(Status.PENDING_DELETE)
        restorable = [image for image in waiting if image.deleted_from is not None]
        return self._due(restorable, lambda image: image.since, delay)[:limit]

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images in uploading whose last change is at least this long ago."""
        await checkpoint()
        idle = [image for image in self._in(Status.UPLOADING) if image.claim is None]
        return self._due(idle, lambda image: image.updated_at, idle_for)[:limit]

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images whose upload broke off at least this long ago, the longest first."""
        await checkpoint()
        unclaimed = [image for image in self.images.values() if image.claim is None]
        return self._due(unclaimed, _broken_at, idle_for)[:limit]

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """Replace the records of images deleted at least this long ago by tombstones."""
        await checkpoint()
        gone = self._due(self._in(Status.DELETED), lambda image: image.since, deleted_for)
        purged = [image.id for image in gone[:limit]]
        for image_id in purged:
            del self.images[image_id]
            self.history.pop(image_id, None)
        self.tombstones.update(purged)
        return purged

    def _add_entry(self, before: Image | None, after: Image) -> None:
        entry = entry_of(before, after, Actor.of(get_contextvars()))
        if entry is not None:
            entries = [*self.history.get(after.id, ()), entry]
            self.history[after.id] = entries[-HISTORY_LIMIT:]

    def _image(self, image_id: str) -> Image:
        try:
            return self.images[image_id]
        except KeyError:
            raise ImageNotFound(image_id) from None

    def _in(self, status: Status) -> list[Image]:
        return [image for image in self.images.values() if image.status is status]

    def _move_claim(
        self, before: Claim | None, after: Claim | None, held: Callable[[Claim], LapsedClaim]
    ) -> None:
        if before == after:
            return
        if before is not None:
            del self.leases[before]
        if after is not None:
            self.leases[after] = (self._clock.now() + after.lease, held(after))

    def _due(
        self, records: Iterable[T], when: MomentOf[T], ago: timedelta = timedelta(0)
    ) -> list[T]:
        """Those whose timestamp is at least this long ago, the earliest first."""
        latest = self._clock.now() - ago
        dated = [(moment, record) for record in records if (moment := when(record)) is not None]
        dated.sort(key=lambda pair: pair[0])
        return [record for moment, record in dated if moment <= latest]


def _broken_at(image: Image) -> datetime | None:
    return None if image.broken_upload is None else image.broken_upload.at


class MemoryTasks(MemoryImages):
    """The calls for tasks; a task that writes an image is changed together with it."""

    async def add_task(self, task: Task) -> Task:
        """Store a new task that writes no image; returns it with its timestamps."""
        await checkpoint()
        self.tasks[task.id] = task_rules.created(task, self._clock.now())
        return self.tasks[task.id]

    async def get_task(self, task_id: str) -> Task:
        """Return the task. Raises TaskNotFound."""
        await checkpoint()
        return self._task(task_id)

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """Return the page that ``core/query`` describes."""
        await checkpoint()
        return page_of_tasks(list(self.tasks.values()), query)

    async def count_unfinished_tasks(self, owner: str) -> int:
        """The number of this owner's tasks that are pending or being worked on."""
        await checkpoint()
        return sum(task.owner == owner and not task.is_final for task in self.tasks.values())

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a change; if the task writes an image, with the consequences for that."""
        await checkpoint()
        before = self._task(task_id)
        if before.writes is not None and self._is_in(before.writes, task_id):
            self._modify(before.writes, change_task(change))
            return self._task(task_id)
        after = change(before)
        if after is before:
            return before
        self.tasks[task_id] = after = task_rules.stamp(before, after, self._clock.now())
        self._move_claim(before.claim, after.claim, lambda claim: LapsedClaim(claim, None, task_id))
        return after

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """Record the progress of an attempt."""
        await checkpoint()
        if task_id not in self.tasks:
            return
        task = task_rules.advance(self.tasks[task_id], attempt, progress, self._clock.now())
        self.tasks[task_id] = task
        if task.writes is not None and self._is_in(task.writes, task_id):
            self.images[task.writes] = replace(self.images[task.writes], task=task)

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """Pending tasks of these types, owners in turn."""
        await checkpoint()
        turns: Counter[str] = Counter()
        served: dict[str, datetime] = {}
        for task in self.tasks.values():
            turns[task.owner] += task.status is TaskStatus.PROCESSING
            if task.begun_at is not None:
                served[task.owner] = max(task.begun_at, served.get(task.owner, task.begun_at))
        waiting: list[tuple[tuple[object, ...], Task]] = []
        for task in sorted(self.tasks.values(), key=_age):
            if task.status is TaskStatus.PENDING and task.type in types:
                turns[task.owner] += 1
                last = served.get(task.owner)
                turn = (turns[task.owner], last is not None, last, _age(task))
                waiting.append((turn, task))
        return [task for _, task in sorted(waiting, key=lambda pair: pair[0])][:limit]

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """Tasks of none of these types that have been pending for at least this long."""
        await checkpoint()
        strange = [
            task
            for task in self.tasks.values()
            if task.status is TaskStatus.PENDING and task.type not in known
        ]
        return self._due(strange, lambda task: task.updated_at, pending_for)[:limit]

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """Remove the record, unless ``allow`` raises. Raises TaskNotFound, TaskNotFinal."""
        await checkpoint()
        task = self._task(task_id)
        allow(task)
        require_final(task)
        del self.tasks[task_id]

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Remove the records of expired tasks, the longest expired first."""
        await checkpoint()
        now = self._clock.now()
        over = [task for task in self.tasks.values() if task.expires_at and task.expires_at <= now]
        over.sort(key=lambda task: (task.expires_at, task.id))
        for task in over[:limit]:
            del self.tasks[task.id]
        return over[:limit]

    def _is_in(self, image_id: str, task_id: str) -> bool:
        """Whether it is the task of this image; an image has no final task."""
        image = self.images.get(image_id)
        return image is not None and image.task is not None and image.task.id == task_id

    def _task(self, task_id: str) -> Task:
        try:
            return self.tasks[task_id]
        except KeyError:
            raise TaskNotFound(task_id) from None


def _age(task: Task) -> tuple[object, str]:
    return task.created_at, task.id
