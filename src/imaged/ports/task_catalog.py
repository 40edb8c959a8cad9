"""What the services ask of a catalog about tasks; ``ports/catalog.py`` says what holds for all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Protocol

from imaged.core.task import Progress, Task, TaskChange
from imaged.core.task_query import TaskQuery


class TaskCatalog(Protocol):
    """Keeps tasks. It holds no rules; those are in ``core``."""

    async def add_task(self, task: Task) -> Task:
        """Store a new task that writes no image, and return it dated (``task.created``)."""
        ...

    async def get_task(self, task_id: str) -> Task:
        """Return the task. Raises TaskNotFound."""
        ...

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """Return the page that ``core/task_query`` describes."""
        ...

    async def count_unfinished_tasks(self, owner: str) -> int:
        """How many tasks of this owner wait for a worker or have one."""
        ...

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a pure change to the stored task, atomically, and return it as it is then.

        Where it writes an image and is not final, this is ``modify_image`` with
        ``writing.change_task(change)``: what follows for the image is written with it. The rules
        for ``change`` are the same. Raises TaskNotFound, and whatever ``change`` raises.
        """
        ...

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """Note how far an attempt is, without any lock but the row's.

        Nothing happens if the task is gone, not processing, or in another attempt.
        """
        ...

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """Tasks of these types that wait for a worker, in the order in which they should begin.

        Owners take turns: the n-th waiting task of an owner has the turn n plus the number of his
        tasks in processing, anywhere. Lower turns first; among equals the owner for whom a task
        began longest ago, or never; then the oldest.
        """
        ...

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """Tasks of none of these types that have waited for so long, the longest first.

        A task that was given back waits since then.
        """
        ...

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """Remove the record, unless ``allow`` raises. Raises TaskNotFound, what ``allow`` raises,
        and TaskNotFinal.
        """
        ...

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Remove the records of tasks whose ``expires_at`` has come, the longest first; all
        owners' alike. What they made stays.
        """
        ...
