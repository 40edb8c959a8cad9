"""Metrics from the counts that an instance's services keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from imaged.services.reconciler import ReconcileReport
from imaged.services.scrubber import ScrubReport
from imaged.services.traffic import Traffic

#: Jobs that process items one by one, each of which may fail.
JOBS_WITH_ITEMS = ("reclaimer", "scrubber", "sweeper", "task_expiry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """The counts of one process. Totals only grow."""

    traffic: Traffic = field(default_factory=Traffic)
    budget_bytes: int = 0
    budget_used_bytes: int = 0
    connections: int = 0
    connections_ended: Mapping[str, int] = field(default_factory=dict)  # by each reason
    claims_held: int = 0
    claims_taken_back: int = 0
    scrubbed: ScrubReport = field(default_factory=ScrubReport)  # the sum of all rounds
    reconciled: ReconcileReport | None = None  # of the last round; None before the first
    transactions: int = 0  # running now
    connections_limit: int = 0
    second_tries: int = 0
    log_bytes: int | None = None  # of SQLite; None with PostgreSQL
    events_dropped: int = 0  # of notifications
    items_failed: Mapping[str, int] = field(default_factory=dict)  # by duty
    items_put_off: Mapping[str, int] = field(default_factory=dict)  # now, by duty


class CountersCollector:
    """A Prometheus collector over ``Counters``, which it requests at each scrape."""

    def __init__(self, counters: Callable[[], Counters]) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        counters = self._counters()
        yield from _transfers(counters)
        yield from _connections(counters)
        yield from _claims(counters)
        yield from _deletions(counters)
        if counters.reconciled is not None:
            yield from _orphans(counters.reconciled)
        yield from _transactions(counters)
        if counters.log_bytes is not None:
            yield GaugeMetricFamily(
                "imaged_catalog_log_bytes",
                "Size of SQLite's write-ahead log; it is truncated above 64 MiB.",
                counters.log_bytes,
            )
        yield CounterMetricFamily(
            "imaged_notifications_dropped",
            "Events that no receiver accepted for notifications.keep, or that were too many.",
            counters.events_dropped,
        )
        yield from _items(counters)


def _transfers(counters: Counters) -> Iterator[Metric]:
    traffic = counters.traffic
    in_flight = GaugeMetricFamily(
        "imaged_transfers_in_flight",
        "Transfers of image data in progress.",
        labels=("direction",),
    )
    in_flight.add_metric(("upload",), traffic.uploads_in_flight)
    in_flight.add_metric(("download",), traffic.downloads_in_flight)
    yield in_flight
    moved = CounterMetricFamily(
        "imaged_transferred_bytes", "Bytes of image data received or sent.", labels=("direction",)
    )
    moved.add_metric(("upload",), traffic.received_bytes)
    moved.add_metric(("download",), traffic.sent_bytes)
    yield moved
    yield GaugeMetricFamily(
        "imaged_transfer_budget_used_bytes",
        "Memory in use by bytes in flight.",
        counters.budget_used_bytes,
    )
    yield GaugeMetricFamily(
        "imaged_transfer_budget_limit_bytes",
        "uploads.transfer_budget: at this limit, transfers slow down.",
        counters.budget_bytes,
    )


def _connections(counters: Counters) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "imaged_http_connections", "Open connections to the API.", counters.connections
    )
    ended = CounterMetricFamily(
        "imaged_http_connections_ended",
        "Connections that this instance ended or refused, by reason.",
        labels=("reason",),
    )
    for reason, count in counters.connections_ended.items():
        ended.add_metric((reason,), count)
    yield ended


def _claims(counters: Counters) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "imaged_claims_held", "Claims on images that this instance holds.", counters.claims_held
    )
    yield CounterMetricFamily(
        "imaged_claims_taken_back",
        "Claims of silent instances that this instance released.",
        counters.claims_taken_back,
    )


def _deletions(counters: Counters) -> Iterator[Metric]:
    scrubbed = counters.scrubbed
    blobs = CounterMetricFamily(
        "imaged_scrub_blobs",
        "Blobs that this instance deleted or failed to delete.",
        labels=("outcome",),
    )
    blobs.add_metric(("deleted",), scrubbed.deleted)
    blobs.add_metric(("failed",), scrubbed.failed)
    yield blobs
    yield CounterMetricFamily(
        "imaged_scrub_deleted_bytes", "Bytes that this instance deleted.", scrubbed.deleted_bytes
    )


def _orphans(report: ReconcileReport) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "imaged_orphan_blobs",
        "Blobs that the last reconciliation found in a store but not in the catalog.",
        len(report.strays),
    )
    yield GaugeMetricFamily(
        "imaged_missing_blobs",
        "Blobs of images that the last reconciliation did not find in their store.",
        len(report.missing),
    )


def _transactions(counters: Counters) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "imaged_catalog_transactions",
        "Running catalog transactions of this instance.",
        counters.transactions,
    )
    yield GaugeMetricFamily(
        "imaged_catalog_connections_limit",
        "How many transactions can run at the same time; others wait.",
        counters.connections_limit,
    )
    yield CounterMetricFamily(
        "imaged_catalog_second_tries",
        "Transactions that were retried after a lock conflict or a lost connection.",
        counters.second_tries,
    )


def _items(counters: Counters) -> Iterator[Metric]:
    failed = CounterMetricFamily(
        "imaged_duty_items_failed",
        "Failures of single items of a duty; the other items of the round continued.",
        labels=("duty",),
    )
    put_off = GaugeMetricFamily(
        "imaged_duty_items_put_off",
        "Failed items of a duty that wait for their next attempt.",
        labels=("duty",),
    )
    for duty in JOBS_WITH_ITEMS:
        failed.add_metric((duty,), counters.items_failed.get(duty, 0))
        put_off.add_metric((duty,), counters.items_put_off.get(duty, 0))
    yield failed
    yield put_off
