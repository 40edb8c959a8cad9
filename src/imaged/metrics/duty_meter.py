"""Metrics of periodic jobs: the time of the last success, and the number of failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge


class DutyMeter:
    """The ``Meter`` of job rounds. ``clock``: seconds since the epoch."""

    def __init__(
        self, registry: CollectorRegistry, duties: Iterable[str], clock: Callable[[], float] = time
    ) -> None:
        self._clock = clock
        self._successes = Gauge(
            "imaged_duty_last_success_timestamp_seconds",
            "When a duty last completed a round without an error; 0 if it never did.",
            ("duty",),
            registry=registry,
        )
        self._failures = Counter(
            "imaged_duty_failures", "Rounds of a duty that failed.", ("duty",), registry=registry
        )
        for duty in duties:
            self._successes.labels(duty)
            self._failures.labels(duty)

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """Record the end of a round. A cancelled round counts neither as success nor as failure."""
        del seconds
        if error is None:
            self._successes.labels(what).set(self._clock())
        elif isinstance(error, Exception):
            self._failures.labels(what).inc()
