"""Tasks of a type that no worker has: they fail with a sentence, instead of waiting for ever.

The program that adds a type may be installed on other instances alone, or come back after an
upgrade. So a task waits for long before this instance, which does not know its type, ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from imaged.core.errors import CatalogError, ImagedError
from imaged.core.task import Task, cancel, has_waited_since
from imaged.ports.catalog import Catalog
from imaged.services.clock_guard import ClockGuard
from imaged.services.postponed import Postponed
from imaged.services.tasks.types import Registry
from imaged.units import approximate_duration

BATCH = 100
LONGEST_PENDING = timedelta(days=7)


@dataclass(slots=True)
class StrangeTasks:
    """Ends them. ``longest_pending`` may be replaced."""

    catalog: Catalog
    registry: Registry
    clock: ClockGuard
    postponed: Postponed
    longest_pending: timedelta = LONGEST_PENDING

    async def run_due(self) -> None:
        """End all whose time is over. Raises CatalogError."""
        strange = await self._find()
        if not strange or not await self.clock.is_steady():
            return
        for task in strange:
            await self.postponed.try_one(task.id, partial(self._end, task))

    async def _find(self) -> Sequence[Task]:
        limit = BATCH + len(self.postponed)
        known = self.registry.names
        return await self.catalog.find_strange_tasks(known, self.longest_pending, limit)

    async def _end(self, seen: Task) -> None:
        why = (
            f"No server has been able to do tasks of the type {seen.type!r} for "
            f"{approximate_duration(self.longest_pending)}: the program that adds this type is "
            "missing. Ask the operator to install it, and then ask for the task again."
        )

        def change(now: Task) -> Task:
            return cancel(now, why) if has_waited_since(seen, now) else now

        try:
            await self.catalog.modify_task(seen.id, change)
        except CatalogError:
            raise
        except ImagedError:
            return  # it has gone, or its image has
