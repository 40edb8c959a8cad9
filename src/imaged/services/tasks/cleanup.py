"""Removes leftovers of dead workers of tasks: scratch files and unfinished exports.

The files are listed before the attempts and tasks that may need them: so files created in between
are never removed. A place that fails does not delay the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from uuid import UUID

import anyio
import structlog

from imaged.core.errors import ExportError, ScratchError, TaskNotFound
from imaged.ports.catalog import Catalog
from imaged.ports.conversion import Scratch
from imaged.ports.export import Destination
from imaged.services.item_backoff import ItemBackoff, run_all_steps

log = structlog.get_logger()

#: Timeout for one call to a place: a call to a disk that hangs never returns.
CLEANUP_TIMEOUT = timedelta(minutes=1)


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
        self._troubles: dict[str, str] = {}
        self.postponed = ItemBackoff("sweeper", catalog.check)

    @property
    def troubles(self) -> Mapping[str, str]:
        """The trouble of each failing place, by its name: "scratch", "exports.archive"."""
        return self._troubles

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
        except (ExportError, ScratchError) as error:
            self._log_change(place, str(error))
        except TimeoutError:
            self._log_change(
                place, f"It did not answer within {CLEANUP_TIMEOUT.total_seconds():g} s."
            )
        else:
            self._troubles.pop(place, None)

    def _log_change(self, place: str, trouble: str) -> None:
        if self._troubles.get(place) != trouble:
            log.warning("sweep.failed", place=place, error=trouble)
        self._troubles[place] = trouble

    async def _sweep_scratch(self) -> None:
        with anyio.fail_after(CLEANUP_TIMEOUT.total_seconds()):
            found = await self._scratch.attempts()
        if found:
            for attempt in {*found} - {*await self._catalog.list_attempts()}:
                removing = partial(self._remove_scratch, attempt)
                await self.postponed.try_item(f"scratch/{attempt}", removing)

    async def _remove_scratch(self, attempt: UUID) -> None:
        with anyio.fail_after(CLEANUP_TIMEOUT.total_seconds()):
            await self._scratch.remove(attempt)
        log.info("scratch.swept", attempt=str(attempt))

    async def _sweep_exports(self, destination: Destination) -> None:
        with anyio.fail_after(CLEANUP_TIMEOUT.total_seconds()):
            leftovers = await destination.leftovers()
        for task_id in leftovers:
            removing = partial(self._remove_export, destination, task_id)
            await self.postponed.try_item(f"exports.{destination.name}/{task_id}", removing)

    async def _remove_export(self, destination: Destination, task_id: str) -> None:
        if not await self._has_ended(task_id):
            return
        with anyio.fail_after(CLEANUP_TIMEOUT.total_seconds()):
            await destination.remove(task_id)
        log.debug("export.swept", destination=destination.name, task_id=task_id)

    async def _has_ended(self, task_id: str) -> bool:
        try:
            return (await self._catalog.get_task(task_id)).is_final
        except TaskNotFound:
            return True
