"""Everything that counts in one process, with a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Gauge

from imaged.metrics.duties import DutyMeter
from imaged.metrics.loop import LoopWatch
from imaged.metrics.operations import CatalogMeter, StoreMeters
from imaged.metrics.process import Build, Usage
from imaged.metrics.requests import RequestMeter
from imaged.metrics.tally import Tallies, Tally
from imaged.metrics.tasks import TaskMeter
from imaged.metrics.transfers import TransferMeter


class Instruments:
    """``stores`` and ``duties``: the names that labels may have."""

    def __init__(self, *, stores: Sequence[str], duties: Sequence[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Usage())
        self.requests = RequestMeter(self.registry)
        self.transfers = TransferMeter(self.registry)
        self.stores = StoreMeters(self.registry, stores)
        self.catalog = CatalogMeter(self.registry)
        self.duties = DutyMeter(self.registry, duties)
        self.tasks = TaskMeter(self.registry)
        self.loop = LoopWatch()
        self._reloaded = Gauge(
            "imaged_config_last_reload_successful",
            "Whether the configuration that is in the files is the one that was read last.",
            registry=None,
        )
        self._reloaded.set(1)

    def watch_instance(self, version: str) -> None:
        """Tell also what an instance has once, whatever processes it consists of."""
        self.registry.register(Build(version))
        self.registry.register(self.loop)
        self.registry.register(self._reloaded)

    def reloaded(self, *, successfully: bool) -> None:
        """The configuration was read again, and applied or rejected."""
        self._reloaded.set(successfully)

    def count(self, tally: Callable[[], Tally]) -> None:
        """Ask for what services have counted, whenever the page is written."""
        self.registry.register(Tallies(tally))
