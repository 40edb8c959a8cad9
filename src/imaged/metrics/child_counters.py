"""Adds the counts of a child process to those of its daemon.

The suffix of a name (https://prometheus.io/docs/practices/naming/) decides how: totals and
histogram series add up over all successive children, a timestamp is the latest one, and any other
gauge adds the current child's value until it exits. What all processes measure of one thing, or
what is worst in one of them, is the maximum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

ADDITIVE_SUFFIXES = ("_total", "_bucket", "_count", "_sum")
LATEST_SUFFIX = "_timestamp_seconds"
CREATED_SUFFIX = "_created"
MAXIMA = frozenset({"imaged_catalog_log_bytes", "imaged_event_loop_lag_seconds"})

_Key = tuple[str, frozenset[tuple[str, str]]]


class ChildSample(msgspec.Struct, array_like=True, frozen=True):
    """One sample with its family, name, labels and value."""

    family: str
    name: str
    labels: dict[str, str]
    value: float

    @property
    def key(self) -> _Key:
        """The name and labels, which identify the series."""
        return self.name, frozenset(self.labels.items())


def nonzero_samples(registry: CollectorRegistry) -> list[ChildSample]:
    """Return all samples that are not 0."""
    return [
        ChildSample(family.name, sample.name, dict(sample.labels), sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(CREATED_SUFFIX)
    ]


class ChildCounters:
    """Accumulates the counts of successive child processes, of which one runs at a time."""

    def __init__(self) -> None:
        self._now: Mapping[_Key, ChildSample] = {}
        self._kept: dict[_Key, ChildSample] = {}  # of children that exited

    def update(self, counts: Sequence[ChildSample]) -> None:
        """Replace the counts of the running child; they count from its start."""
        self._now = {count.key: count for count in counts}

    def child_exited(self) -> None:
        """Keep the totals of the child that exited; drop its gauges."""
        self._kept = {
            key: count
            for key, count in self._counts().items()
            if count.name.endswith((*ADDITIVE_SUFFIXES, LATEST_SUFFIX))
        }
        self._now = {}

    def merge_into(self, families: Iterable[Metric]) -> Iterator[Metric]:
        """Yield the families with the children's counts added."""
        counts = self._counts()
        for family in families:
            family.samples = [_with(counts, sample) for sample in family.samples]
            family.samples += [
                Sample(count.name, count.labels, count.value)
                for count in counts.values()
                if count.family == family.name
            ]
            yield family

    def _counts(self) -> dict[_Key, ChildSample]:
        together = dict(self._kept)
        for key, count in self._now.items():
            before = together.get(key)
            value = count.value if before is None else _joined(key[0], before.value, count.value)
            together[key] = msgspec.structs.replace(count, value=value)
        return together


def _with(counts: dict[_Key, ChildSample], sample: Sample) -> Any:
    """Return the sample with its count added, and remove the count."""
    count = counts.pop((sample.name, frozenset(sample.labels.items())), None)
    if count is None:
        return sample
    return sample._replace(value=_joined(sample.name, sample.value, count.value))


def _joined(name: str, one: float, other: float) -> float:
    is_maximum = name.endswith(LATEST_SUFFIX) or name in MAXIMA
    return max(one, other) if is_maximum else one + other
