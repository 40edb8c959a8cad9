"""Queries catalog and stores for the metrics page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from imaged.core.summary import Summary
from imaged.metrics.cached_probe import CachedProbe
from imaged.metrics.state_gauges import StateSnapshot
from imaged.ports.catalog import StatusCatalog
from imaged.ports.store import Stores
from imaged.services.health import Health


class StateCollector:
    """Queries catalog, stores and health concurrently, through a CachedProbe for each."""

    def __init__(
        self,
        catalog: StatusCatalog,
        stores: Stores,
        health: Health,
        lease: timedelta,
        task_types: Sequence[str] = (),
    ) -> None:
        self._catalog = catalog
        self._lease = lease
        self._task_types = task_types
        self._summary = CachedProbe(self._summarize)
        self._troubles = CachedProbe(health.troubles)
        self._room = {name: CachedProbe(store.free_bytes) for name, store in stores.by_name.items()}
        self._all: list[CachedProbe[Any]] = [self._summary, self._troubles, *self._room.values()]

    async def run(self) -> None:
        """Serve the probes until cancelled."""
        async with anyio.create_task_group() as tasks:
            for probe in self._all:
                tasks.start_soon(probe.run)

    async def collect(self) -> StateSnapshot:
        """Return the current state; parts that do not answer in time are None or missing."""
        async with anyio.create_task_group() as tasks:
            for probe in self._all:
                tasks.start_soon(probe.refresh)
        summary, clock_offset = self._summary.value or (None, timedelta(0))
        troubles = self._troubles.value
        room = {name: probe.value for name, probe in self._room.items()}
        return StateSnapshot(
            summary=summary,
            clock_offset=clock_offset,
            lease=self._lease,
            is_ready=troubles is not None and not troubles,
            stores_up={
                name: troubles is not None and f"store {name}" not in troubles for name in room
            },
            free_bytes={name: left for name, left in room.items() if left is not None},
            task_types=self._task_types,
        )

    async def _summarize(self) -> tuple[Summary, timedelta]:
        """Return the summary, and how far the catalog's clock is ahead at most."""
        summary = await self._catalog.summarize()
        return summary, summary.at - datetime.now(UTC)
