"""The health of this instance: for probes, and in the catalog for operators.

An instance is ready if its catalog and stores answer and it is not stopping. A problem that does
not prevent its work is a warning: the instance is still ready. Probes are frequent, so an answer is
reused for a short time, and concurrent probes share one check.

The heartbeat registers the instance in the catalog, with its problems. Only ``imaged status``
depends on it: work is protected by leases, which are independent of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from math import inf
from typing import Protocol

import anyio
import structlog

from imaged.core.errors import CatalogError, StoreError
from imaged.core.place_marker import warnings_of
from imaged.core.summary import Instance, InstanceReport, StoreSpace
from imaged.ports.catalog import InstanceCatalog, PlaceCatalog, StatusCatalog
from imaged.ports.store import Store, Stores
from imaged.services.periodic import Problem

log = structlog.get_logger()

HEALTH_CACHE_SECONDS = 2.0
CHECK_TIMEOUT_SECONDS = 2.0
SHOWN_SILENT_LEASES = 10  # how long a silent instance is shown, in leases
UNREGISTER_SECONDS = 5
RELOAD_REJECTED = "the last reload was rejected, and the old settings are in use; the log says why"
MAX_TROUBLES = 20  # shown to operators; the log has all of them
MAX_TROUBLE_LENGTH = 300  # characters


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
        self.is_reload_rejected = False
        self.reloaded_at: float | None = None  # seconds of the event loop's clock
        self.spaces: Mapping[str, StoreSpace] = {}  # of stores with a limit, as of the last check
        self.degraded_parts = degraded_parts
        self._parts: Mapping[str, Callable[[], Awaitable[None]]] = {
            "catalog": catalog.check,
            **{
                f"store {name}": partial(self._check_store, name, store)
                for name, store in stores.by_name.items()
            },
        }
        self._catalog = catalog
        self._problems = {name: Problem() for name in self._parts}
        self._failing_since: dict[str, float] = {}  # of the event loop's clock, by part
        self._warned_of: set[str] = set()  # parts that the log says do not work
        self._warnings: Sequence[str] = ()
        self._looks_again_at = -inf
        self._lock = anyio.Lock()
        self.cache_seconds = HEALTH_CACHE_SECONDS
        self.check_timeout_seconds = CHECK_TIMEOUT_SECONDS  # for each part

    async def troubles(self) -> Sequence[str]:
        """The parts that fail; empty if all work."""
        if self.draining:
            return ("draining",)
        async with self._lock:
            if anyio.current_time() >= self._looks_again_at:
                await self._look()
                self._looks_again_at = anyio.current_time() + self.cache_seconds
        return self.known_troubles()

    def known_troubles(self) -> Sequence[str]:
        """The parts that failed at the last check."""
        return tuple(name for name, problem in self._problems.items() if problem.text)

    def failing_part_seconds(self) -> Mapping[str, float]:
        """The parts that failed at the last check, and for how many seconds they have."""
        now = anyio.current_time()
        return {part: round(now - since, 3) for part, since in self._failing_since.items()}

    def reloaded(self, *, successfully: bool) -> None:
        """Record the result of a reload."""
        self.is_reload_rejected = not successfully
        self.reloaded_at = anyio.current_time()

    def warnings(self) -> Sequence[str]:
        """Problems that do not prevent the work, as of the last check."""
        return (RELOAD_REJECTED, *self._warnings) if self.is_reload_rejected else self._warnings

    async def _look(self) -> None:
        self._spaces_found: dict[str, StoreSpace] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_for_warnings)
            for name, check in self._parts.items():
                tasks.start_soon(self._look_at, name, check)
        self.spaces = self._spaces_found

    async def _check_store(self, name: str, store: Store) -> None:
        await store.check()
        if (space := await store.space()) is not None:
            self._spaces_found[name] = space

    async def _look_for_warnings(self) -> None:
        with anyio.move_on_after(self.check_timeout_seconds):
            try:
                places = await self._catalog.list_places()
            except CatalogError:
                return  # its own check reports it
            self._warnings = warnings_of(places)

    async def _look_at(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        try:
            with anyio.fail_after(self.check_timeout_seconds):
                await check()
        except TimeoutError:
            self._note(name, f"did not answer within {self.check_timeout_seconds:g} s")
        except (CatalogError, StoreError) as error:
            self._note(name, str(error), is_outage=error.is_outage)
        else:
            self._note(name, "")

    def _note(self, name: str, trouble: str, *, is_outage: bool = False) -> None:
        """Remember the trouble, and log its beginning and its end, unless it is an outage, which is
        logged where any operation meets it.
        """
        problem = self._problems[name]
        was_well = not problem.text
        if not problem.set(trouble):
            return
        if not trouble:
            del self._failing_since[name]
        elif was_well:
            self._failing_since[name] = anyio.current_time()
        if was_well and is_outage:
            log.debug("health.degraded", part=name, error=trouble)
        elif was_well:
            self._warned_of.add(name)
            log.warning("health.degraded", part=name, error=trouble)
        elif not trouble and name in self._warned_of:
            self._warned_of.discard(name)
            log.info("health.recovered", part=name)
        elif not trouble:
            log.debug("health.recovered", part=name)


class Heartbeat:
    """Keeps one row of the catalog up to date while the instance runs.

    The row of an instance that was killed is shown as silent for a while, and then removed.
    """

    def __init__(
        self,
        catalog: InstanceCatalog,
        instance: Instance,
        lease: timedelta,
        troubles: Callable[[], Sequence[str]] = tuple,
        report: Callable[[], InstanceReport] = InstanceReport,
    ) -> None:
        self._catalog = catalog
        self._instance = instance
        self._troubles = troubles
        self._report = report
        self._forget_after = SHOWN_SILENT_LEASES * lease

    async def send(self) -> None:
        """Register the instance with its current troubles and report. Raises CatalogError."""
        troubles = tuple(
            trouble[:MAX_TROUBLE_LENGTH] for trouble in self._troubles()[:MAX_TROUBLES]
        )
        instance = replace(self._instance, troubles=troubles, report=self._report())
        await self._catalog.register_instance(instance, self._forget_after)

    async def stop(self) -> None:
        """Remove the registration. If the catalog is unavailable, the row expires by itself."""
        with anyio.move_on_after(UNREGISTER_SECONDS, shield=True):
            try:
                await self._catalog.unregister_instance(self._instance.id)
            except CatalogError as error:
                log.warning("instance.leave_failed", error=str(error))
