"""Removes what dead workers of tasks left: scratch files, and exports that were not finished.

What is there is listed first, and then who may still need it: so nothing that is begun in between
is taken away. A part of it that fails keeps nobody else waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

import structlog

from imaged.core.errors import ExportError, ScratchError, TaskNotFound
from imaged.ports.catalog import Catalog
from imaged.ports.export import Destination
from imaged.ports.scratch import Scratch

log = structlog.get_logger()


class Sweeper:
    """Any number of them may run at the same time. Trouble is told once, until it changes."""

    def __init__(
        self, catalog: Catalog, scratch: Scratch, destinations: Iterable[Destination]
    ) -> None:
        self._catalog = catalog
        self._scratch = scratch
        self._destinations = destinations
        self._troubles: dict[str, str] = {}

    async def run_due(self) -> None:
        """Remove everything that nobody needs. Raises CatalogError."""
        await self._sweep("scratch", self._sweep_scratch())
        for destination in self._destinations:
            await self._sweep(f"exports.{destination.name}", self._sweep_exports(destination))

    async def _sweep(self, place: str, sweeping: Awaitable[None]) -> None:
        try:
            await sweeping
        except (ExportError, ScratchError) as error:
            if self._troubles.get(place) != str(error):
                log.warning("sweep.failed", place=place, error=str(error))
            self._troubles[place] = str(error)
        else:
            self._troubles.pop(place, None)

    async def _sweep_scratch(self) -> None:
        if found := await self._scratch.attempts():
            for attempt in {*found} - {*await self._catalog.list_attempts()}:
                await self._scratch.remove(attempt)
                log.info("scratch.swept", attempt=str(attempt))

    async def _sweep_exports(self, destination: Destination) -> None:
        for task_id in await destination.leftovers():
            if await self._has_ended(task_id):
                await destination.remove(task_id)
                log.debug("export.swept", destination=destination.name, task_id=task_id)

    async def _has_ended(self, task_id: str) -> bool:
        try:
            return (await self._catalog.get_task(task_id)).is_final
        except TaskNotFound:
            return True
