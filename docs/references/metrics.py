"""Makes the page of the metrics: every family, from an idle instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from prometheus_client.core import Metric

from imaged.core.blob import BlobState
from imaged.core.lifecycle import Status
from imaged.core.summary import BlobUsage, StoreSpace, Summary
from imaged.metrics.counters import Counters
from imaged.metrics.instruments import Instruments
from imaged.metrics.state_gauges import StateSnapshot, state_families
from imaged.server.connections import CloseReason
from imaged.services.reconciler import ReconcileReport

_HEAD = """\
# Metrics

Made from the code by `make docs`; do not edit.

The metric families of `/metrics`. [How to monitor imaged](../how-to/monitor.md) describes the
scrape configuration, the shipped alerts and the dashboard. Units are seconds and bytes. A histogram
`NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`.

Families *of the catalog* describe the whole cluster: every instance reports the same numbers, so
use `max`, never `sum`. All other families describe one instance since its start, with all of its
processes. `process_…` are the standard metrics of Prometheus clients, for the daemon, for its
worker while that runs, and for each process that answers requests beside it.
"""

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_STORES = ("NAME",)
_TASK_TYPES = ("NAME",)
_WHOLE = Summary(
    at=_NOW,
    instances=(),
    held_images=(),
    images={},
    blob_usage=[BlobUsage("NAME", state, 0, 0) for state in BlobState],
    restorable=0,
    restorable_bytes=0,
    oldest_due_at=None,
    oldest=dict.fromkeys(Status, _NOW),
)
_FIGURES = StateSnapshot(
    summary=_WHOLE,
    stores_up=dict.fromkeys(_STORES, True),
    spaces=dict.fromkeys(_STORES, StoreSpace(0, 0, 0)),
    task_types=_TASK_TYPES,
    last_backup_at=_NOW,
)
#: Placeholders for labels without fixed values, here or in one family.
_SHOWN: Mapping[str, str] = {
    "version": "…",
    "python": "…",
    "process": "daemon, worker, api-1, api-2 …",
    "store": "each store",
    "duty": "…",
    "type": "each type of tasks",
    "imaged_http_request_duration_seconds code": "each that was answered",
}


def all_families() -> Iterator[Metric]:
    """Yield every family once, as in an idle instance."""
    instruments = Instruments(stores=_STORES, duties=("reclaimer", "scrubber", "reconcile"))
    instruments.register_instance_metrics("…")
    instruments.duties.set_intervals({"NAME": timedelta(0)})
    instruments.tasks.register_types(_TASK_TYPES)
    instruments.register_keystone()
    ended = dict.fromkeys(map(str, CloseReason), 0)
    counters = Counters(reconciled=ReconcileReport(), log_bytes=0, connections_ended=ended)
    instruments.register_counters(lambda: counters)
    yield from instruments.registry.collect()
    yield from state_families(_FIGURES)


def reference() -> str:
    """Return the page in Markdown."""
    of_the_catalog = {family.name for family in state_families(_FIGURES)} - {
        family.name for family in state_families(StateSnapshot(last_backup_at=_NOW))
    }
    lines = [_HEAD, "| family | kind | labels | meaning |", "|---|---|---|---|"]
    for family in sorted(all_families(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        whole = "Of the catalog: " if family.name in of_the_catalog else ""
        told = f"{whole}{family.documentation}"
        lines.append(f"| `{name}` | {family.type} | {_labels(family)} | {told} |")
    return "\n".join([*lines, ""])


def _labels(family: Metric) -> str:
    values: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in values.setdefault(label, []):
                values[label].append(value)
    return "; ".join(
        f"`{label}`: {_shown(family, label) or ', '.join(found)}" for label, found in values.items()
    )


def _shown(family: Metric, label: str) -> str | None:
    return _SHOWN.get(f"{family.name} {label}", _SHOWN.get(label))
