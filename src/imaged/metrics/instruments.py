"""All instruments of one process, with their own registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Gauge

from imaged.metrics.counters import Counters, CountersCollector
from imaged.metrics.duty_meter import DutyMeter
from imaged.metrics.loop_lag import LoopLagMonitor
from imaged.metrics.operation_meters import CatalogMeter, StoreMeters
from imaged.metrics.process_collector import BuildCollector, ProcessCollector
from imaged.metrics.request_meter import RequestMeter
from imaged.metrics.task_meter import TaskMeter
from imaged.metrics.transfer_meter import TransferMeter


class Instruments:
    """Owns the registry and the meters. ``stores``, ``duties``: the allowed label values."""

    def __init__(self, *, stores: Sequence[str], duties: Sequence[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(ProcessCollector())
        self.requests = RequestMeter(self.registry)
        self.transfers = TransferMeter(self.registry)
        self.stores = StoreMeters(self.registry, stores)
        self.catalog = CatalogMeter(self.registry)
        self.duties = DutyMeter(self.registry, duties)
        self.tasks = TaskMeter(self.registry)
        self.loop = LoopLagMonitor()
        self._reloaded = Gauge(
            "imaged_config_last_reload_successful",
            "Whether the last reload of the configuration succeeded.",
            registry=None,
        )
        self._reloaded.set(1)

    def register_instance_metrics(self, version: str) -> None:
        """Register metrics that exist once per instance, not once per process."""
        self.registry.register(BuildCollector(version))
        self.registry.register(self.loop)
        self.registry.register(self._reloaded)

    def reloaded(self, *, successfully: bool) -> None:
        """Record the result of a reload."""
        self._reloaded.set(successfully)

    def register_counters(self, counters: Callable[[], Counters]) -> None:
        """Register the counts of the services, which ``counters`` returns at each scrape."""
        self.registry.register(CountersCollector(counters))
