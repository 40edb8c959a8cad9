"""The page that Prometheus scrapes: every family, in the requested format."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from imaged.metrics.state_gauges import StateSnapshot, families
from imaged.metrics.worker_counters import CREATED_SUFFIX, WorkerCounters


class MetricsPage(NamedTuple):
    """The page and its Content-Type."""

    body: bytes
    media_type: str


class ExpositionWriter:
    """Writes the page from the registry, the state gauges and the worker's counts."""

    def __init__(
        self,
        registry: CollectorRegistry,
        collect_state: Callable[[], Awaitable[StateSnapshot]],
        worker_counters: WorkerCounters | None = None,
    ) -> None:
        self._registry = registry
        self._collect_state = collect_state
        self._worker_counters = worker_counters or WorkerCounters()

    async def write(self, accept: str = "") -> MetricsPage:
        """Return the page in the format of a request's Accept header. Unavailable state is left
        out; nothing is raised for it.
        """
        encode, media_type = choose_encoder(accept)
        snapshot = await self._collect_state()
        return MetricsPage(
            encode(_Families(self._registry, self._worker_counters, snapshot)), media_type
        )


class _Families:
    """Collects every family once. imaged_start_time_seconds replaces the ``_created`` series."""

    def __init__(
        self, registry: CollectorRegistry, worker_counters: WorkerCounters, snapshot: StateSnapshot
    ) -> None:
        self._registry = registry
        self._worker_counters = worker_counters
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for family in self._worker_counters.merge_into(self._registry.collect()):
            kept = [sample for sample in family.samples if not sample.name.endswith(CREATED_SUFFIX)]
            family.samples = kept
            yield family
        yield from families(self._snapshot)
