"""Fails tasks that no worker can run, instead of leaving them waiting.

The program that adds a type may be installed on other instances only, or return after an upgrade;
the key of a secret may exist on other instances only, or return from a backup. So a task waits for
a long time before this instance, which does not know its type or cannot read its secret, ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from imaged.core.errors import CatalogError, ImagedError, SecretKeyUnavailable, SecretUnreadable
from imaged.core.task import Task, cancel, still_waits_since
from imaged.ports.image_catalog import TaskCatalog
from imaged.ports.secret_box import SecretBox
from imaged.services.clock_guard import ClockGuard
from imaged.services.item_backoff import ItemBackoff
from imaged.services.tasks.task_type import TaskTypeRegistry
from imaged.units import approximate_duration

UNRUNNABLE_BATCH = 100
LONGEST_PENDING = timedelta(days=7)

UNKNOWN_TYPE = (
    "No server has been able to run tasks of the type {type!r} for {time}: the program that adds "
    "this type is missing. Ask the operator to install it, and then create the task again."
)
NO_KEY = (
    "No server has been able to read the secret that came with the task for {time}: the key that "
    "encrypted it is missing. Create the task again."
)


@dataclass(slots=True)
class UnrunnableTaskReaper:
    """Fails unrunnable tasks. ``longest_pending`` may be replaced."""

    catalog: TaskCatalog
    registry: TaskTypeRegistry
    seal: SecretBox
    clock: ClockGuard
    postponed: ItemBackoff
    longest_pending: timedelta = LONGEST_PENDING

    async def run_due(self) -> None:
        """Fail all tasks that have waited too long. Raises CatalogError."""
        unrunnable = await self._find()
        if not unrunnable or not await self.clock.is_reliable():
            return
        for task in unrunnable:
            await self.postponed.try_item(task.id, partial(self._end, task))

    async def _find(self) -> Sequence[Task]:
        limit = UNRUNNABLE_BATCH + len(self.postponed)
        known, find = self.registry.names, self.catalog.find_stale_tasks
        unknown = await find(known, self.longest_pending, limit)
        waiting = await find((), self.longest_pending, limit)
        unreadable = [
            task
            for task in waiting
            if why_secret_unreadable(self.seal, task) and task.type in known
        ]
        return [*unknown, *unreadable]

    async def _end(self, seen: Task) -> None:
        lack = UNKNOWN_TYPE if seen.type not in self.registry.names else NO_KEY
        why = lack.format(type=seen.type, time=approximate_duration(self.longest_pending))

        def change(now: Task) -> Task:
            return cancel(now, why) if still_waits_since(seen, now) else now

        try:
            await self.catalog.modify_task(seen.id, change)
        except CatalogError:
            raise
        except ImagedError:
            return  # the task or its image is gone


def why_secret_unreadable(seal: SecretBox, task: Task) -> str | None:
    """Why the task's secret cannot be read here; None if it can, or if there is none."""
    if task.sealed is None:
        return None
    try:
        seal.open(task.sealed)
    except (SecretKeyUnavailable, SecretUnreadable) as error:
        return str(error)
    return None
