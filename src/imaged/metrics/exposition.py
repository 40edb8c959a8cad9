"""The page that Prometheus reads: every family, in the format that is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from imaged.metrics.state_gauges import StateSnapshot, families
from imaged.metrics.worker_counters import CREATED_SUFFIX, WorkerCounters


class MetricsPage(NamedTuple):
    """What is answered."""

    body: bytes
    media_type: str


class ExpositionWriter:
    """Writes the page. The gauges are read first; all else is in the registry, and some of it comes
    from the worker.
    """

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
        """The page, for the Accept header of a request. Never raises: what is not known is left
        out.
        """
        encode, media_type = choose_encoder(accept)
        figures = await self._collect_state()
        return MetricsPage(
            encode(_Families(self._registry, self._worker_counters, figures)), media_type
        )


class _Families:
    """All of them, once. When a counter began is not told: that is in imaged_start_time_seconds."""

    def __init__(
        self, registry: CollectorRegistry, worker_counters: WorkerCounters, figures: StateSnapshot
    ) -> None:
        self._registry = registry
        self._worker_counters = worker_counters
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for family in self._worker_counters.merge_into(self._registry.collect()):
            kept = [sample for sample in family.samples if not sample.name.endswith(CREATED_SUFFIX)]
            family.samples = kept
            yield family
        yield from families(self._figures)
