"""The health of this instance: its catalog and stores answer, and it is not stopping.

A problem that does not prevent its work is a warning: the instance is still ready.

Probes are frequent, so an answer is reused for a short time, and concurrent probes share one check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Protocol

import anyio
import structlog

from imaged.core.errors import CatalogError, StoreError
from imaged.core.place_marker import warnings_of
from imaged.ports.catalog import PlaceCatalog, StatusCatalog
from imaged.ports.store import Stores

log = structlog.get_logger()

HEALTH_CACHE_SECONDS = 2.0
CHECK_TIMEOUT_SECONDS = 2.0  # for each part


class HealthCatalog(StatusCatalog, PlaceCatalog, Protocol):
    """Whether the catalog answers, and the warnings about places."""


class Health:
    """Checks the parts on request. ``draining`` is set when the instance stops. ``degraded_parts``
    returns the names of failed parts that the instance can work without: export destinations.
    """

    def __init__(
        self,
        catalog: HealthCatalog,
        stores: Stores,
        degraded_parts: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.draining = False
        self.degraded_parts = degraded_parts
        self._parts: Mapping[str, Callable[[], Awaitable[None]]] = {
            "catalog": catalog.check,
            **{f"store {name}": store.check for name, store in stores.by_name.items()},
        }
        self._catalog = catalog
        self._troubles: dict[str, str] = {}
        self._warnings: Sequence[str] = ()
        self._looks_again_at = -inf
        self._lock = anyio.Lock()

    async def troubles(self) -> Sequence[str]:
        """The parts that fail; empty if all work."""
        if self.draining:
            return ("draining",)
        async with self._lock:
            if anyio.current_time() >= self._looks_again_at:
                await self._look()
                self._looks_again_at = anyio.current_time() + HEALTH_CACHE_SECONDS
        return tuple(name for name in self._parts if name in self._troubles)

    def warnings(self) -> Sequence[str]:
        """Problems that do not prevent the work, as of the last check."""
        return self._warnings

    async def _look(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_for_warnings)
            for name, check in self._parts.items():
                tasks.start_soon(self._look_at, name, check)

    async def _look_for_warnings(self) -> None:
        with anyio.move_on_after(CHECK_TIMEOUT_SECONDS):
            try:
                places = await self._catalog.list_places()
            except CatalogError:
                return  # its own check reports it
            self._warnings = warnings_of(places)

    async def _look_at(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            with anyio.fail_after(CHECK_TIMEOUT_SECONDS):
                await check()
        except TimeoutError:
            self._note(name, f"did not answer within {CHECK_TIMEOUT_SECONDS:g} s")
        except (CatalogError, StoreError) as error:
            self._note(name, str(error))
        else:
            self._note(name, "")

    def _note(self, name: str, trouble: str) -> None:
        """Remember the trouble, and log each change once."""
        known = self._troubles.pop(name, "")
        if trouble:
            self._troubles[name] = trouble
        if trouble and not known:
            log.warning("health.degraded", part=name, error=trouble)
        elif known and not trouble:
            log.info("health.recovered", part=name)
