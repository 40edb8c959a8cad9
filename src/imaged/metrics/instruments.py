"""All instruments of one process, and the page that Prometheus scrapes from them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from imaged.metrics.child_counters import CREATED_SUFFIX, ChildCounters
from imaged.metrics.counters import Counters, CountersCollector
from imaged.metrics.keystone_meter import KeystoneMeter
from imaged.metrics.operation_meters import (
    CatalogMeter,
    DeliveryMeter,
    DutyMeter,
    StoreMeters,
    TaskMeter,
)
from imaged.metrics.process_collector import (
    BuildCollector,
    LoopLagMonitor,
    ProcessCollector,
)
from imaged.metrics.request_meters import RequestMeter, TransferMeter
from imaged.metrics.state_gauges import StateSnapshot, state_families


class Instruments:
    """Owns the registry and the meters. ``stores``, ``duties``: the allowed label values.
    ``process``: which one of the instance this is.
    """

    def __init__(
        self,
        *,
        stores: Sequence[str],
        duties: Sequence[str] = (),
        process: str = "daemon",
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(ProcessCollector(process))
        self.requests = RequestMeter(self.registry)
        self.transfers = TransferMeter(self.registry)
        self.stores = StoreMeters(self.registry, stores)
        self.catalog = CatalogMeter(self.registry)
        self.duties = DutyMeter(self.registry, duties)
        self.tasks = TaskMeter(self.registry)
        self.deliveries = DeliveryMeter(self.registry)
        self.loop = LoopLagMonitor()
        self._reloaded = Gauge(
            "imaged_config_last_reload_successful",
            "Whether the last reload of the configuration succeeded.",
            registry=None,
        )
        self._reloaded.set(1)
        self._scrub_delay = Gauge(
            "imaged_scrub_delay_seconds",
            "scrubber.delay: how long deleted images can be restored.",
            registry=None,
        )

        self.process_deaths = Counter(
            "imaged_process_deaths",
            "Processes that answered requests and ended unexpectedly.",
            registry=None,
        )

    def register_keystone(self) -> KeystoneMeter:
        """Register the metrics of Keystone, and return its meter. Only instances that use Keystone
        have them.
        """
        return KeystoneMeter(self.registry)

    def register_instance_metrics(self, version: str) -> None:
        """Register metrics that exist once per instance, not once per process."""
        self.registry.register(BuildCollector(version))
        self.registry.register(self.loop)
        self.registry.register(self._reloaded)
        self.registry.register(self._scrub_delay)
        self.registry.register(self.process_deaths)

    def register_loop_lag(self) -> None:
        """Register the lag of this process's event loop, beside that of the daemon."""
        self.loop.counts_steps = False
        self.registry.register(self.loop)

    def reloaded(self, *, successfully: bool) -> None:
        """Record the result of a reload."""
        self._reloaded.set(successfully)

    def set_scrub_delay(self, delay: timedelta) -> None:
        """Record the configured delay."""
        self._scrub_delay.set(delay.total_seconds())

    def register_counters(self, counters: Callable[[], Counters]) -> None:
        """Register the counts of the services, which ``counters`` returns at each scrape."""
        self.registry.register(CountersCollector(counters))


class MetricsPage(NamedTuple):
    """The page and its Content-Type."""

    body: bytes
    media_type: str


class ExpositionWriter:
    """Writes the page from the registry, the state gauges and the counts of child processes."""

    def __init__(
        self,
        registry: CollectorRegistry,
        collect_state: Callable[[], Awaitable[StateSnapshot]],
        children: Sequence[ChildCounters] = (),
    ) -> None:
        self._registry = registry
        self._collect_state = collect_state
        self._children = children

    async def write(self, accept: str = "") -> MetricsPage:
        """Return the page in the format of a request's Accept header. Unavailable state is left
        out; nothing is raised for it.
        """
        encode, media_type = choose_encoder(accept)
        snapshot = await self._collect_state()
        return MetricsPage(encode(_Families(self._registry, self._children, snapshot)), media_type)


@dataclass(frozen=True, slots=True)
class _Families:
    """Collects every family once. process_start_time_seconds replaces the ``_created`` series."""

    registry: CollectorRegistry
    children: Sequence[ChildCounters]
    snapshot: StateSnapshot

    def collect(self) -> Iterator[Metric]:
        families: Iterable[Metric] = self.registry.collect()
        for child in self.children:
            families = child.merge_into(families)
        for family in families:
            kept = [sample for sample in family.samples if not sample.name.endswith(CREATED_SUFFIX)]
            family.samples = kept
            yield family
        yield from state_families(self.snapshot)
