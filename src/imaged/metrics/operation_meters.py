"""Metrics of operations: of stores and catalog, of rounds of periodic jobs, and of tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from imaged.core.errors import (
    CatalogError,
    EventRefused,
    ImagedError,
    ReceiverError,
    StoreError,
    WriteDiscarded,
)
from imaged.core.task import FINAL_STATUSES, Task, TaskStatus
from imaged.ports.meter import STORE_OPERATIONS, TRANSACTION_KINDS, Meter

#: Seconds: a fast disk, a disk under load, a bucket, a failing one; whole images take minutes.
STORE_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600)
#: Seconds. Transactions take milliseconds; those that wait for a lock end at a timeout of 15 s, and
#: may be tried again.
CATALOG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)

#: Seconds: a receiver that is near, one that is busy, the default timeout.
DELIVERY_BUCKETS = (0.02, 0.5, 10)

CHECK_OPERATION = "check"  # counted, not timed: other operations show the latency
VERIFY_TYPE = "verify"


class StoreMeters:
    """Provides one meter for each store."""

    def __init__(self, registry: CollectorRegistry, stores: Iterable[str]) -> None:
        self._seconds = Histogram(
            "imaged_store_operation_seconds",
            "Duration of store operations, without the time spent waiting for a client.",
            ("store", "operation"),
            buckets=STORE_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "imaged_store_errors",
            "Failed operations of a store.",
            ("store", "operation"),
            registry=registry,
        )
        for store in stores:
            self.of(store)

    def of(self, store: str) -> Meter:
        """Return the meter of one store. An error of the transferred body is not the store's."""
        seconds = {
            name: self._seconds.labels(store, name)
            for name in STORE_OPERATIONS
            if name != CHECK_OPERATION
        }
        errors = {name: self._errors.labels(store, name) for name in STORE_OPERATIONS}

        def tell(what: str, took_seconds: float, error: BaseException | None) -> None:
            if _is_trouble_of(store, error):
                errors[what].inc()
            elif error is not None:
                return
            if what != CHECK_OPERATION:
                seconds[what].observe(took_seconds)

        return tell


class CatalogMeter:
    """The ``Meter`` of catalog transactions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        seconds = Histogram(
            "imaged_catalog_transaction_seconds",
            "Duration of catalog transactions, with waiting for a connection or a lock.",
            ("kind",),
            buckets=CATALOG_BUCKETS,
            registry=registry,
        )
        errors = Counter(
            "imaged_catalog_errors",
            "Catalog transactions that failed, or whose result is unknown.",
            ("kind",),
            registry=registry,
        )
        self._seconds = {
            kind: seconds.labels(kind) for kind in TRANSACTION_KINDS if kind != CHECK_OPERATION
        }
        self._errors = {kind: errors.labels(kind) for kind in TRANSACTION_KINDS}

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """Record a transaction. A refusal counts as success; a cancelled one is not counted."""
        if isinstance(error, CatalogError):
            self._errors[what].inc()
        elif error is not None and not isinstance(error, ImagedError):
            return
        if what != CHECK_OPERATION:
            self._seconds[what].observe(seconds)


class DeliveryMeter:
    """The ``Meter`` of requests to the receiver of notifications."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "imaged_notification_seconds",
            "Duration of requests to the receiver of notifications.",
            buckets=DELIVERY_BUCKETS,
            registry=registry,
        )
        self._sent = Counter(
            "imaged_notifications",
            "Requests to the receiver: accepted, refused for the event, or failed for another "
            "reason; all but the accepted ones are repeated.",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("accepted", "refused", "failed"):
            self._sent.labels(outcome)

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """Record a request. A cancelled one is not counted."""
        del what
        if error is not None and not isinstance(error, ReceiverError):
            return
        self._seconds.observe(seconds)
        failure = "refused" if isinstance(error, EventRefused) else "failed"
        self._sent.labels("accepted" if error is None else failure).inc()


def _is_trouble_of(store: str, error: BaseException | None) -> bool:
    """Whether the store failed. A write whose blob was deleted meanwhile is not a failure."""
    if not isinstance(error, StoreError) or isinstance(error, WriteDiscarded):
        return False
    return error.store == store


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
        self._intervals = Gauge(
            "imaged_duty_interval_seconds",
            "How long a duty pauses between two rounds; 0 if it is disabled.",
            ("duty",),
            registry=registry,
        )
        for duty in duties:
            self._successes.labels(duty)
            self._failures.labels(duty)

    def set_intervals(self, intervals: Mapping[str, timedelta]) -> None:
        """Record the configured intervals of duties."""
        for duty, interval in intervals.items():
            self._intervals.labels(duty).set(interval.total_seconds())

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
