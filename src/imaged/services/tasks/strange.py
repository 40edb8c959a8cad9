"""Tasks that no worker can do: they fail with a sentence, instead of waiting for ever.

The program that adds a type may be installed on other instances alone, or come back after an
upgrade; and the key of a secret may be theirs, or come back from a backup. So a task waits for long
before this instance, which does not know its type or cannot read its secret, ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from imaged.core.errors import CatalogError, ImagedError
from imaged.core.task import Task, cancel, has_waited_since
from imaged.ports.catalog import Catalog
from imaged.ports.seal import Seal
from imaged.services.clock_guard import ClockGuard
from imaged.services.postponed import Postponed
from imaged.services.tasks.secrets import why_closed
from imaged.services.tasks.types import Registry
from imaged.units import approximate_duration

BATCH = 100
LONGEST_PENDING = timedelta(days=7)

UNKNOWN_TYPE = (
    "No server has been able to do tasks of the type {type!r} for {time}: the program that adds "
    "this type is missing. Ask the operator to install it, and then ask for the task again."
)
NO_KEY = (
    "No server has been able to read the secret that came with the task for {time}: the key that "
    "it was encrypted with is missing. Ask for the task again."
)


@dataclass(slots=True)
class StrangeTasks:
    """Ends them. ``longest_pending`` may be replaced."""

    catalog: Catalog
    registry: Registry
    seal: Seal
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
        known, find = self.registry.names, self.catalog.find_strange_tasks
        unknown = await find(known, self.longest_pending, limit)
        waiting = await find((), self.longest_pending, limit)
        closed = [task for task in waiting if why_closed(self.seal, task) and task.type in known]
        return [*unknown, *closed]

    async def _end(self, seen: Task) -> None:
        lack = UNKNOWN_TYPE if seen.type not in self.registry.names else NO_KEY
        why = lack.format(type=seen.type, time=approximate_duration(self.longest_pending))

        def change(now: Task) -> Task:
            return cancel(now, why) if has_waited_since(seen, now) else now

        try:
            await self.catalog.modify_task(seen.id, change)
        except CatalogError:
            raise
        except ImagedError:
            return  # it has gone, or its image has
