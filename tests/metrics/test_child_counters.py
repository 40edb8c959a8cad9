"""A daemon publishes its worker's counts, after the worker's exit too."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from imaged.metrics.child_counters import ChildCounters, ChildSample, nonzero_samples
from imaged.metrics.process_collector import ProcessCollector


class Counting:
    """The counts of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ended = Counter("ended", "…", ("type",), registry=self.registry)
        self.seconds = Histogram("seconds", "…", buckets=(1, 10), registry=self.registry)
        self.held = Gauge("held", "…", registry=self.registry)
        self.verified = Gauge("last_timestamp_seconds", "…", registry=self.registry)

    def work(self, name: str, seconds: float, at: float, held: int = 0) -> None:
        """Count some events."""
        self.ended.labels(name).inc()
        self.seconds.observe(seconds)
        self.held.set(held)
        self.verified.set(at)


def told(workers: ChildCounters, registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples of a page by name and labels."""
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in workers.merge_into(registry.collect())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def sent(registry: CollectorRegistry) -> Sequence[ChildSample]:
    """Return its counts as received over the channel."""
    return msgspec.json.decode(
        msgspec.json.encode(nonzero_samples(registry)), type=list[ChildSample]
    )


@pytest.fixture
def here() -> Counting:
    """A daemon with counts of its own."""
    counting = Counting()
    counting.work("clone", 5, at=1000, held=2)
    return counting


def test_nothing_was_counted_elsewhere(here: Counting) -> None:
    """Without a worker, the page has the daemon's own counts."""
    assert told(ChildCounters(), here.registry) == told(ChildCounters(), CollectorRegistry()) | {
        "ended_total/clone": 1,
        "seconds_bucket/1.0": 0,
        "seconds_bucket/10.0": 1,
        "seconds_bucket/+Inf": 1,
        "seconds_count": 1,
        "seconds_sum": 5,
        "held": 2,
        "last_timestamp_seconds": 1000,
    }


def test_both_together(here: Counting) -> None:
    """Counters add up, timestamps take the latest, and new labels are added. A report replaces the
    previous one of the same worker, and writing a page changes no count.
    """
    workers, there = ChildCounters(), Counting()
    there.work("clone", 0.5, at=900, held=3)
    workers.update(sent(there.registry))
    there.work("import", 20, at=1100, held=4)
    for _ in range(2):
        workers.update(sent(there.registry))

        assert told(workers, here.registry) == {
            "ended_total/clone": 2,
            "ended_total/import": 1,
            "seconds_bucket/1.0": 1,
            "seconds_bucket/10.0": 2,
            "seconds_bucket/+Inf": 3,
            "seconds_count": 3,
            "seconds_sum": 25.5,
            "held": 6,
            "last_timestamp_seconds": 1100,
        }


def test_counters_survive_their_worker(here: Counting) -> None:
    """Counters of an exited worker remain, its gauges do not; a new worker starts at 0."""
    workers = ChildCounters()
    for at in (3000, 2000):
        there = Counting()
        there.work("import", 2, at=at, held=5)
        workers.update(sent(there.registry))
        workers.child_exited()
    found = told(workers, here.registry)

    assert found["ended_total/import"] == 2
    assert found["seconds_count"] == 3
    assert found["seconds_bucket/1.0"] == 0
    assert found["held"] == 2
    assert found["last_timestamp_seconds"] == 3000


def test_each_process_has_metrics_of_its_own() -> None:
    """Start times and limits are not added up; a worker takes all but its CPU time with it."""
    workers, here, there = ChildCounters(), CollectorRegistry(), CollectorRegistry()
    here.register(ProcessCollector("daemon"))
    there.register(ProcessCollector("worker"))
    workers.update(sent(there))
    both = told(workers, here)
    workers.child_exited()
    left = told(workers, here)

    for name in ("process_start_time_seconds", "process_max_fds"):
        assert both[f"{name}/daemon"] == left[f"{name}/daemon"]
        assert both[f"{name}/worker"] == pytest.approx(both[f"{name}/daemon"])
        assert f"{name}/worker" not in left
    assert left["process_cpu_seconds_total/worker"] == both["process_cpu_seconds_total/worker"]
