"""The tasks of the catalog in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from anyio.lowlevel import checkpoint

from imaged.core import task as task_rules
from imaged.core.errors import TaskNotFound
from imaged.core.notification import task_notifications, task_removed
from imaged.core.query import (
    TaskQuery,
)
from imaged.core.task import Progress, Task, TaskChange, TaskStatus, require_final
from imaged.core.task_pages import page_of_tasks
from imaged.core.uploading import change_task
from imaged.ports.image_catalog import HeldClaim
from imaged.testing.memory_images import MemoryImages


class MemoryTasks(MemoryImages):
    """The calls for tasks; a task that writes an image is changed together with it."""

    async def add_task(self, task: Task) -> Task:
        """Store a new task that writes no image; returns it with its timestamps."""
        await checkpoint()
        now = self._clock.now()
        task = self.tasks[task.id] = task_rules.created(task, now)
        self._add_events(task_notifications(None, task), now)
        return task

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
        now = self._clock.now()
        self.tasks[task_id] = after = task_rules.stamp(before, after, now)
        self._move_claim(before.claim, after.claim, lambda claim: HeldClaim(claim, None, task_id))
        self._add_events(task_notifications(before, after), now)
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
        self._remove([task])

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Remove the records of expired tasks, the longest expired first."""
        await checkpoint()
        now = self._clock.now()
        over = [task for task in self.tasks.values() if task.expires_at and task.expires_at <= now]
        over.sort(key=lambda task: (task.expires_at, task.id))
        self._remove(over[:limit])
        return over[:limit]

    def _remove(self, gone: Sequence[Task]) -> None:
        now = self._clock.now()
        for task in gone:
            del self.tasks[task.id]
        self._add_events([task_removed(task, now) for task in gone], now)

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
