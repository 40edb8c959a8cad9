"""The standard metrics of a process, lag of the event loop, and steps of the clock."""

from __future__ import annotations

import resource
from time import monotonic, time

import pytest

from imaged.metrics.process_collector import (
    SAMPLE_INTERVAL_SECONDS,
    LoopLagMonitor,
    ProcessCollector,
    SlidingMaximum,
)


def test_the_process_has_the_standard_names() -> None:
    """All that Prometheus' page on clients lists and Linux tells, about this very process."""
    found = {
        sample.name: sample.value
        for family in ProcessCollector("worker").collect()
        for sample in family.samples
        if sample.labels == {"process": "worker"}
    }
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert found.keys() == {
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "process_open_fds",
        "process_max_fds",
    }
    assert 0 < found["process_resident_memory_bytes"] < found["process_virtual_memory_bytes"]
    assert time() - 86400 < found["process_start_time_seconds"] < time()
    assert 3 <= found["process_open_fds"] < limit == found["process_max_fds"]


def test_the_largest_leaves_with_its_window() -> None:
    """An expired maximum is replaced by the next largest value in the window."""
    largest = SlidingMaximum(window_seconds=10)
    for at, value in [(0, 3.0), (1, 9.0), (5, 4.0), (6, 1.0)]:
        largest.record(value, at)

    assert [largest.at(now) for now in (6, 10.9, 11, 15, 16)] == [9, 9, 4, 1, 0]


def values(watch: LoopLagMonitor) -> dict[str, float]:
    """Return the values by name."""
    return {sample.name: sample.value for one in watch.collect() for sample in one.samples}


def test_a_late_timer_is_told() -> None:
    """The lag excludes the requested sleep and is never negative."""
    watch, now = LoopLagMonitor(), monotonic()
    watch.record(SAMPLE_INTERVAL_SECONDS + 0.5, SAMPLE_INTERVAL_SECONDS + 0.5, now)
    watch.record(SAMPLE_INTERVAL_SECONDS - 0.01, SAMPLE_INTERVAL_SECONDS, now)

    assert values(watch) == {
        "imaged_event_loop_lag_seconds": pytest.approx(0.5),
        "imaged_clock_steps_total": 0,
    }


@pytest.mark.parametrize(("wall_seconds", "steps"), [(0.3, 0), (1.2, 0), (3600, 1), (-3600, 1)])
def test_a_clock_that_was_set_is_told(wall_seconds: float, steps: int) -> None:
    """A step of more than a second counts, forward and back."""
    watch = LoopLagMonitor()
    watch.record(SAMPLE_INTERVAL_SECONDS, wall_seconds, monotonic())

    assert values(watch)["imaged_clock_steps_total"] == steps
