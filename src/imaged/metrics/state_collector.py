"""Queries catalog and stores for the metrics page, through a cache for each slow query.

At most one query of a kind runs at a time. A result is cached for ``CACHE_FACTOR`` times as long as
its query took, so queries take at most a twentieth of the time. A query that hangs blocks no
caller: callers wait at most ``PROBE_WAIT_SECONDS`` and then get None.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Generic, TypeVar

import anyio

from imaged.core.errors import ImagedError
from imaged.core.summary import Summary
from imaged.metrics.state_gauges import StateSnapshot
from imaged.ports.catalog import StatusCatalog
from imaged.ports.store import Stores
from imaged.services.health import Health

T = TypeVar("T")

MIN_CACHE_SECONDS = 5.0
CACHE_FACTOR = 20  # times the duration of the query
STALE_GRACE_SECONDS = 30.0  # a stale value is returned this much longer, during the next query
PROBE_WAIT_SECONDS = 4.0  # of a caller; Prometheus's scrape timeout is 10 s by default


class CachedProbe(Generic[T]):
    """Caches the result of one query. ``source``: runs the query; raises ImagedError.

    Callers wait at most ``wait_seconds``, which may be replaced.
    """

    def __init__(self, source: Callable[[], Awaitable[T]]) -> None:
        self.wait_seconds = PROBE_WAIT_SECONDS
        self._source = source
        self._seen: T | None = None
        self._fresh_until = -inf
        self._asked = anyio.Event()
        self._answered = anyio.Event()

    @property
    def value(self) -> T | None:
        """The cached result; None if the query failed or does not answer."""
        return (
            self._seen if anyio.current_time() < self._fresh_until + STALE_GRACE_SECONDS else None
        )

    async def refresh(self) -> None:
        """Request a query if the result is stale; wait at most ``wait_seconds``."""
        if anyio.current_time() >= self._fresh_until:
            self._asked.set()
            with anyio.move_on_after(self.wait_seconds):
                await self._answered.wait()

    async def run(self) -> None:
        """Run requested queries until cancelled."""
        while True:
            await self._asked.wait()
            await self._probe()
            self._asked = anyio.Event()  # requests made meanwhile get this result too
            self._answered.set()
            self._answered = anyio.Event()

    async def _probe(self) -> None:
        began = anyio.current_time()
        try:
            self._seen = await self._source()
        except ImagedError:  # /readyz and the log report it
            self._seen = None
        now = anyio.current_time()
        self._fresh_until = now + max(MIN_CACHE_SECONDS, CACHE_FACTOR * (now - began))


class StateCollector:
    """Queries catalog and health concurrently, through a CachedProbe for each."""

    def __init__(
        self,
        catalog: StatusCatalog,
        stores: Stores,
        health: Health,
        lease: timedelta,
        task_types: Sequence[str] = (),
        *,
        last_backup: Callable[[], Awaitable[datetime]] | None = None,
    ) -> None:
        """``last_backup``: returns the time of the last backup, if that is watched."""
        self._catalog = catalog
        self._lease = lease
        self._task_types = task_types
        self._summary = CachedProbe(self._summarize)
        self._troubles = CachedProbe(health.troubles)
        self._last_backup = None if last_backup is None else CachedProbe(last_backup)
        self._store_names = tuple(stores.by_name)
        self._health = health
        self._all: list[CachedProbe[Any]] = [self._summary, self._troubles]
        if self._last_backup is not None:
            self._all.append(self._last_backup)

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
        return StateSnapshot(
            summary=summary,
            clock_offset=clock_offset,
            lease=self._lease,
            is_ready=troubles is not None and not troubles,
            stores_up={
                name: troubles is not None and f"store {name}" not in troubles
                for name in self._store_names
            },
            spaces=self._health.spaces,
            task_types=self._task_types,
            last_backup_at=None if self._last_backup is None else self._last_backup.value,
        )

    async def _summarize(self) -> tuple[Summary, timedelta]:
        """Return the summary, and how far the catalog's clock is ahead at most."""
        summary = await self._catalog.summarize()
        return summary, summary.at - datetime.now(UTC)
