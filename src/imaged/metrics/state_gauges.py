"""Gauges of the current state: images, bytes, instances and free space.

The catalog's gauges describe the whole cluster and are equal on every instance: alerts and panels
use their maximum, never their sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, Metric

from imaged.core.blob import BlobState
from imaged.core.lifecycle import Status
from imaged.core.summary import StoreSpace, Summary
from imaged.core.task import TaskStatus

#: Statuses that images leave by themselves.
TRANSIENT_STATUSES = (Status.SAVING, Status.UPLOADING, Status.IMPORTING, Status.PENDING_DELETE)
#: Statuses of tasks that have not ended.
UNFINISHED_TASK_STATUSES = (TaskStatus.PENDING, TaskStatus.PROCESSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSnapshot:
    """The state that a scrape found. ``summary`` is None if the catalog did not answer."""

    summary: Summary | None = None
    clock_offset: timedelta = timedelta(0)  # the catalog's clock minus this machine's
    lease: timedelta = timedelta(minutes=1)  # an instance is silent this long after its heartbeat
    is_ready: bool = False
    stores_up: Mapping[str, bool] = field(default_factory=dict)
    spaces: Mapping[str, StoreSpace] = field(default_factory=dict)  # of stores with a limited size
    task_types: Sequence[str] = ()  # known to this instance
    last_backup_at: datetime | None = None  # None: backup.folder is not set, or does not answer


def state_families(snapshot: StateSnapshot) -> Iterator[Metric]:
    """Yield the metric families of a snapshot."""
    yield GaugeMetricFamily(
        "imaged_ready", "Whether this instance is ready for requests.", snapshot.is_ready
    )
    yield GaugeMetricFamily(
        "imaged_catalog_up",
        "Whether the catalog answered; if not, its metrics are missing.",
        snapshot.summary is not None,
    )
    yield _labelled(
        "imaged_store_up", "Whether the store can be used.", "store", snapshot.stores_up
    )
    yield from _of_spaces(snapshot.spaces)
    if snapshot.last_backup_at is not None:
        yield GaugeMetricFamily(
            "imaged_backup_last_success_timestamp_seconds",
            "When the newest backup in backup.folder was complete; 0 if none can be found there.",
            snapshot.last_backup_at.timestamp(),
        )
    if snapshot.summary is not None:
        yield from _of_images(snapshot.summary)
        yield from _of_blobs(snapshot.summary)
        yield from _of_tasks(snapshot.summary, snapshot.task_types)
        yield from _of_outbox(snapshot.summary)
        yield _of_instances(snapshot.summary, snapshot.lease)
        yield GaugeMetricFamily(
            "imaged_catalog_clock_offset_seconds",
            "How far the catalog's clock is ahead of this machine's.",
            snapshot.clock_offset.total_seconds(),
        )


def _of_spaces(spaces: Mapping[str, StoreSpace]) -> Iterator[Metric]:
    yield _labelled(
        "imaged_store_size_bytes",
        "Size of the store's filesystem.",
        "store",
        {name: space.size_bytes for name, space in spaces.items()},
    )
    yield _labelled(
        "imaged_store_free_bytes",
        "Free space of the store, including the reserve that must stay free.",
        "store",
        {name: space.free_bytes for name, space in spaces.items()},
    )
    yield _labelled(
        "imaged_store_min_free_bytes",
        "min_free: uploads that would leave less free space are refused.",
        "store",
        {name: space.min_free_bytes for name, space in spaces.items()},
    )


def _of_images(summary: Summary) -> Iterator[Metric]:
    yield _labelled(
        "imaged_images",
        "Images by status.",
        "status",
        {status: summary.images.get(status, 0) for status in Status},
    )
    yield _labelled(
        "imaged_oldest_image_seconds",
        "How long the oldest image in a transient status has had that status.",
        "status",
        {
            status: _age(summary, summary.oldest[status]) if status in summary.oldest else 0
            for status in TRANSIENT_STATUSES
        },
    )
    yield GaugeMetricFamily(
        "imaged_damaged_images",
        "Images in use whose bytes were found to differ from what was stored.",
        summary.damaged,
    )
    yield GaugeMetricFamily(
        "imaged_restorable_bytes",
        "Bytes of deleted images that can still be restored.",
        summary.restorable_bytes,
    )


def _of_blobs(summary: Summary) -> Iterator[Metric]:
    by_place = {(usage.store, usage.state): usage for usage in summary.blob_usage}
    stores = sorted({usage.store for usage in summary.blob_usage})
    counts = GaugeMetricFamily(
        "imaged_blobs",
        "Blobs by store and state; doomed ones wait for the scrubber.",
        labels=("store", "state"),
    )
    sizes = GaugeMetricFamily(
        "imaged_blob_bytes", "Bytes by store and state.", labels=("store", "state")
    )
    for store in stores:
        for state in BlobState:
            usage = by_place.get((store, state))
            counts.add_metric((store, state), usage.blobs if usage else 0)
            sizes.add_metric((store, state), usage.size_bytes if usage else 0)
    yield counts
    yield sizes
    yield GaugeMetricFamily(
        "imaged_scrub_stuck_blobs",
        "Doomed blobs that could not be deleted at least once.",
        sum(usage.failing for usage in summary.blob_usage),
    )
    yield GaugeMetricFamily(
        "imaged_scrub_overdue_seconds",
        "How long the most overdue blob has been due for deletion; 0 if none is due.",
        summary.scrub_lag.total_seconds(),
    )


def _of_tasks(summary: Summary, known: Sequence[str]) -> Iterator[Metric]:
    found = {(count.type, count.status): count for count in summary.tasks}
    types = dict.fromkeys(
        (*known, *(name for name, status in found if status in UNFINISHED_TASK_STATUSES))
    )
    counts = GaugeMetricFamily(
        "imaged_tasks",
        "Tasks that wait for a worker (pending) or have one (processing), by type.",
        labels=("type", "status"),
    )
    waits: dict[str, float] = {}
    for name in types:
        for status in UNFINISHED_TASK_STATUSES:
            count = found.get((name, status))
            counts.add_metric((name, status), count.tasks if count else 0)
        waiting = found.get((name, TaskStatus.PENDING))
        waits[name] = _age(summary, waiting.oldest_at) if waiting else 0
    yield counts
    yield _labelled(
        "imaged_oldest_pending_task_seconds",
        "Age of the oldest task that waits for a worker; 0 if none does.",
        "type",
        waits,
    )


def _of_outbox(summary: Summary) -> Iterator[Metric]:
    outbox = summary.outbox
    yield GaugeMetricFamily(
        "imaged_notifications_waiting",
        "Events that wait for the receiver of notifications.",
        outbox.events,
    )
    yield GaugeMetricFamily(
        "imaged_notifications_oldest_seconds",
        "Age of the oldest event that waits for the receiver; 0 if none does.",
        0 if outbox.oldest_at is None else _age(summary, outbox.oldest_at),
    )


def _of_instances(summary: Summary, lease: timedelta) -> Metric:
    seen = [summary.at - one.seen_at for one in summary.instances if one.seen_at is not None]
    silent = sum(ago > lease for ago in seen)
    return _labelled(
        "imaged_instances",
        "Instances on this catalog; a silent one has sent no heartbeat for a lease.",
        "presence",
        {"here": len(seen) - silent, "silent": silent},
    )


def _age(summary: Summary, since: datetime) -> float:
    return max(0.0, (summary.at - since).total_seconds())


def _labelled(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
