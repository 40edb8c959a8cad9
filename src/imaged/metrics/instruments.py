"""Everything that counts in one process, with a registry of its own."""

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
    """``stores`` and ``duties``: the names that labels may have."""

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
            "Whether the configuration that is in the files is the one that was read last.",
            registry=None,
        )
        self._reloaded.set(1)

    def register_instance_metrics(self, version: str) -> None:
        """Tell also what an instance has once, whatever processes it consists of."""
        self.registry.register(BuildCollector(version))
        self.registry.register(self.loop)
        self.registry.register(self._reloaded)

    def reloaded(self, *, successfully: bool) -> None:
        """The configuration was read again, and applied or rejected."""
        self._reloaded.set(successfully)

    def register_counters(self, counters: Callable[[], Counters]) -> None:
        """Ask for what services have counted, whenever the page is written."""
        self.registry.register(CountersCollector(counters))
