"""Metrics of background work: rounds of periodic jobs, and tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary

from imaged.core.task import FINAL_STATUSES, Task, TaskStatus

VERIFY_TYPE = "verify"


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


class TaskMeter:
    """The ``TaskHook`` of ChangeLog (``changed``), and the ``Meter`` of attempts.

    ``clock``: seconds since the epoch.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._ended = Counter(
            "imaged_tasks_ended",
            "Tasks that this instance finished or cancelled, by outcome.",
            ("type", "outcome"),
            registry=registry,
        )
        self._lost = Counter(
            "imaged_task_attempts_lost",
            "Lost attempts at tasks that this instance found; they are repeated.",
            registry=registry,
        )
        self._seconds = Summary(
            "imaged_task_seconds",
            "Duration of successful attempts at tasks.",
            registry=registry,
        )
        self._verified = Gauge(
            "imaged_last_verify_timestamp_seconds",
            "When this instance last verified the bytes of an image; 0 if it never did.",
            registry=registry,
        )

    def register_types(self, types: Iterable[str]) -> None:
        """Create the series of these types, starting at 0."""
        for name in types:
            for outcome in sorted(FINAL_STATUSES):
                self._ended.labels(name, outcome)

    def changed(self, before: Task | None, after: Task) -> None:
        """Count a committed change of a task's status."""
        if after.is_final:
            self._ended.labels(after.type, after.status).inc()
        elif before is not None and before.status is TaskStatus.PROCESSING:
            self._lost.inc(after.attempts == before.attempts)  # an orderly stop decrements attempts
        if after.type == VERIFY_TYPE and after.status is TaskStatus.SUCCESS:
            self._verified.set(self._clock())

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """Record the end of an attempt."""
        del what
        if error is None:
            self._seconds.observe(seconds)
