"""The interface of a catalog for tasks; the rules in ``ports/catalog.py`` apply here too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Protocol

from imaged.core.task import Progress, Task, TaskChange
from imaged.core.task_query import TaskQuery


class TaskCatalog(Protocol):
    """Stores tasks. It holds no rules; those are in ``core``."""

    async def add_task(self, task: Task) -> Task:
        """Store a new task that writes no image, and return it dated by ``task.created``."""
        ...

    async def get_task(self, task_id: str) -> Task:
        """Return the task. Raises TaskNotFound."""
        ...

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """Return the page that ``core/task_query`` defines."""
        ...

    async def count_unfinished_tasks(self, owner: str) -> int:
        """The number of this owner's tasks that wait for a worker or have one."""
        ...

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a pure change to the stored task, atomically, and return the task after it.

        If the task writes an image and is not final, this is ``modify_image`` with
        ``uploading.change_task(change)``: the consequences for the image are written with it. The
        rules for ``change`` are the same. Raises TaskNotFound, and the errors of ``change``.
        """
        ...

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """Record the progress of an attempt, locking only the row.

        Does nothing if the task is gone, not processing, or in another attempt.
        """
        ...

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """Tasks of these types that wait for a worker, in the order in which they should begin.

        Owners take turns: the n-th waiting task of an owner has the turn n plus the number of the
        owner's tasks in processing, anywhere. Lower turns first; among equals the owner for whom a
        task began longest ago, or never; then the oldest.
        """
        ...

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """Pending tasks of other types that have waited for ``pending_for``, the longest first.

        The wait of a task that was given back begins at that time.
        """
        ...

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """Remove the record, unless ``allow`` raises. Raises TaskNotFound, TaskNotFinal, and the
        errors of ``allow``.
        """
        ...

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Remove the records of tasks of all owners whose ``expires_at`` has passed, the longest
        first. Their results stay.
        """
        ...
