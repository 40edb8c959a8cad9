"""Write the reference page of all families: ``python -m imaged.metrics.reference``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client.core import Metric

from imaged.core.blob import BlobState
from imaged.core.lifecycle import Status
from imaged.core.summary import BlobUsage, Summary
from imaged.metrics.counters import Counters
from imaged.metrics.instruments import Instruments
from imaged.metrics.state_gauges import StateSnapshot, families
from imaged.services.reconciler import ReconcileReport

_HEAD = """\
# Metrics

Made from the code by `make docs`; do not edit.

What `/metrics` tells, family by family; how to have it read, and what the shipped alerts and the
dashboard make of it: [how to monitor imaged](../how-to/monitor.md). Units are seconds and bytes. A
histogram `NAME` has the series `NAME_bucket`, `NAME_sum` and `NAME_count`.

Families that are *of the catalog* tell of the whole: every instance on it gives the same numbers,
so take their `max`, and never their `sum`. All others are of one instance, since it began.
"""

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_STORES = ("NAME",)
_TASK_TYPES = ("NAME",)
_WHOLE = Summary(
    at=_NOW,
    instances=(),
    holdings=(),
    images={},
    stocks=[BlobUsage("NAME", state, 0, 0) for state in BlobState],
    restorable=0,
    restorable_bytes=0,
    oldest_due_at=None,
    oldest=dict.fromkeys(Status, _NOW),
)
_FIGURES = StateSnapshot(
    summary=_WHOLE,
    stores_up=dict.fromkeys(_STORES, True),
    free_bytes=dict.fromkeys(_STORES, 0),
    task_types=_TASK_TYPES,
)
#: What has no values of its own where nothing has happened.
_SHOWN: Mapping[str, str] = {
    "version": "…",
    "python": "…",
    "store": "each store",
    "duty": "…",
    "type": "each type of tasks",
}


def all_families() -> Iterator[Metric]:
    """Every family, once, as it is where nothing has happened yet."""
    instruments = Instruments(stores=_STORES, duties=("reclaimer", "scrubber", "reconcile"))
    instruments.register_instance_metrics("…")
    instruments.tasks.register_types(_TASK_TYPES)
    instruments.register_counters(lambda: Counters(reconciled=ReconcileReport(), log_bytes=0))
    yield from instruments.registry.collect()
    yield from families(_FIGURES)


def reference() -> str:
    """The page, in Markdown."""
    of_the_catalog = {family.name for family in families(_FIGURES)} - {
        family.name for family in families(StateSnapshot())
    }
    lines = [_HEAD, "| family | kind | labels | what it tells |", "|---|---|---|---|"]
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
        f"`{label}`: {_SHOWN.get(label) or ', '.join(found)}" for label, found in values.items()
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
