"""Removes leftovers of dead workers of tasks, and fails tasks that no worker can run.

Leftovers are scratch files and unfinished exports. They are listed before the attempts and tasks
that may need them: so files created in between are never removed. An export of an unknown task may
be the test file of a check that still runs, in another process too: it is removed when it was found
for ``UNKNOWN_TASK_GRACE``. A place that fails does not delay the others.

A task cannot be run here if this instance does not know its type, or cannot read its secret. But
the program that adds the type, or the key, may exist on other instances, or return after an upgrade
or from a backup. So such a task waits for a long time before it is ended.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

import anyio
import structlog

from imaged.core.errors import (
    ExportError,
    ImagedError,
    ScratchError,
    SecretKeyUnavailable,
    SecretUnreadable,
    TaskNotFound,
)
from imaged.core.task import Task, TaskChange, cancel, still_waits_since
from imaged.ports.catalog import Catalog
from imaged.ports.disk_image import Scratch
from imaged.ports.export import Destination
from imaged.ports.image_catalog import TaskCatalog
from imaged.ports.secret_box import SecretBox
from imaged.services.clock_guard import ClockGuard
from imaged.services.periodic import ItemBackoff, Problem, is_made, run_all_steps
from imaged.services.tasks.task_type import TaskTypeRegistry
from imaged.units import approximate_duration

log = structlog.get_logger()

#: Timeout for one call to a place: a call to a disk that hangs never returns.
CLEANUP_TIMEOUT = timedelta(minutes=1)
UNKNOWN_TASK_GRACE = timedelta(minutes=10)  # longer than any check of a destination
UNRUNNABLE_BATCH = 100
UNKNOWN_TYPE = (
    "No server has been able to run tasks of the type {type!r} for {time}: the program that adds "
    "this type is missing. Ask the operator to install it, and then create the task again."
)
NO_KEY = (
    "No server has been able to read the secret that came with the task for {time}: the key that "
    "encrypted it is missing. Create the task again."
)


class CleanupTimedOut(ImagedError):
    """A folder or bucket did not answer while leftovers were listed or removed."""

    def __init__(self) -> None:
        super().__init__(
            f"It did not answer within {CLEANUP_TIMEOUT.total_seconds():g} s: check its disk, or "
            "the network to it."
        )


class LeftoverCleaner:
    """Removes leftovers. Several may run at the same time. A trouble is logged once, until it
    changes.
    """

    def __init__(
        self, catalog: Catalog, scratch: Scratch, destinations: Iterable[Destination]
    ) -> None:
        self._catalog = catalog
        self._scratch = scratch
        self._destinations = destinations
        self._problems: defaultdict[str, Problem] = defaultdict(Problem)  # by place
        self._first_found: dict[str, dict[str, float]] = {}  # seconds, by destination and task
        self.postponed = ItemBackoff("sweeper", catalog.check)

    @property
    def troubles(self) -> Mapping[str, str]:
        """The trouble of each failing place, by its name: "scratch", "exports.archive"."""
        return {place: problem.text for place, problem in self._problems.items() if problem.text}

    async def run_due(self) -> None:
        """Remove all files that are no longer needed. Raises CatalogError at the end."""
        sweeps = [partial(self._sweep, "scratch", self._sweep_scratch)]
        for destination in self._destinations:
            sweep = partial(self._sweep_exports, destination)
            sweeps.append(partial(self._sweep, f"exports.{destination.name}", sweep))
        await run_all_steps(*sweeps)

    async def _sweep(self, place: str, sweep: Callable[[], Awaitable[None]]) -> None:
        try:
            await sweep()
        except (ExportError, ScratchError, CleanupTimedOut) as error:
            self._note(place, str(error))
        else:
            self._problems[place].set("")

    def _note(self, place: str, trouble: str) -> None:
        if self._problems[place].set(trouble):
            log.warning("sweep.failed", place=place, error=trouble)

    async def _sweep_scratch(self) -> None:
        with limit_call():
            found = await self._scratch.attempts()
        if found:
            for attempt in {*found} - {*await self._catalog.list_attempts()}:
                removing = partial(self._remove_scratch, attempt)
                await self.postponed.try_item(f"scratch/{attempt}", removing)

    async def _remove_scratch(self, attempt: UUID) -> None:
        with limit_call():
            await self._scratch.remove(attempt)
        log.info("scratch.swept", attempt=str(attempt))

    async def _sweep_exports(self, destination: Destination) -> None:
        with limit_call():
            leftovers = await destination.leftovers()
        for task_id, since in self._found_since(destination.name, leftovers).items():
            removing = partial(self._remove_export, destination, task_id, since)
            await self.postponed.try_item(f"exports.{destination.name}/{task_id}", removing)

    def _found_since(self, destination: str, task_ids: Collection[str]) -> Mapping[str, float]:
        before, now = self._first_found.get(destination, {}), anyio.current_time()
        self._first_found[destination] = {one: before.get(one, now) for one in task_ids}
        return self._first_found[destination]

    async def _remove_export(self, destination: Destination, task_id: str, since: float) -> None:
        if not await self._is_over(task_id, since):
            return
        with limit_call():
            await destination.remove(task_id)
        log.debug("export.swept", destination=destination.name, task_id=task_id)

    async def _is_over(self, task_id: str, since: float) -> bool:
        try:
            return (await self._catalog.get_task(task_id)).is_final
        except TaskNotFound:
            return anyio.current_time() - since >= UNKNOWN_TASK_GRACE.total_seconds()


@contextmanager
def limit_call() -> Iterator[None]:
    """Limit one call to a place to ``CLEANUP_TIMEOUT``. Raises CleanupTimedOut."""
    try:
        with anyio.fail_after(CLEANUP_TIMEOUT.total_seconds()):
            yield
    except TimeoutError:
        raise CleanupTimedOut from None


@dataclass(slots=True)
class UnrunnableTaskReaper:
    """Fails unrunnable tasks. ``longest_pending`` may be replaced."""

    catalog: TaskCatalog
    registry: TaskTypeRegistry
    seal: SecretBox
    clock: ClockGuard
    postponed: ItemBackoff
    longest_pending: timedelta

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
        await is_made(self.catalog.modify_task(seen.id, cancel_if_waiting(seen, why)))


def cancel_if_waiting(seen: Task, why: str) -> TaskChange:
    """End a task with this reason, unless a worker has begun it since."""
    return lambda now: cancel(now, why) if still_waits_since(seen, now) else now


def why_secret_unreadable(seal: SecretBox, task: Task) -> str | None:
    """Why the task's secret cannot be read here; None if it can, or if there is none."""
    if task.sealed is None:
        return None
    try:
        seal.open(task.sealed)
    except (SecretKeyUnavailable, SecretUnreadable) as error:
        return str(error)
    return None
