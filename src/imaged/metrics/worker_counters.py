"""Counts of another process of the same instance, added to our own.

What they mean follows from their names (https://prometheus.io/docs/practices/naming/): totals and
the series of a histogram only grow, a timestamp counts if it is the latest, and all else is so much
now and nothing when the process has ended.
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

_Key = tuple[str, frozenset[tuple[str, str]]]


class WorkerSample(msgspec.Struct, array_like=True, frozen=True):
    """One number, by the family, name and labels of its sample."""

    family: str
    name: str
    labels: dict[str, str]
    value: float

    @property
    def key(self) -> _Key:
        """Whose number it is."""
        return self.name, frozenset(self.labels.items())


def nonzero_samples(registry: CollectorRegistry) -> list[WorkerSample]:
    """All that are not 0."""
    return [
        WorkerSample(family.name, sample.name, dict(sample.labels), sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(CREATED_SUFFIX)
    ]


class WorkerCounters:
    """Those of one process after the other."""

    def __init__(self) -> None:
        self._now: Mapping[_Key, WorkerSample] = {}
        self._kept: dict[_Key, WorkerSample] = {}  # of those that ended

    def update(self, counts: Sequence[WorkerSample]) -> None:
        """What the process that there is has counted since it began."""
        self._now = {count.key: count for count in counts}

    def worker_exited(self) -> None:
        """It counts no more; what it has done stays."""
        self._kept = {
            key: count
            for key, count in self._counts().items()
            if count.name.endswith((*ADDITIVE_SUFFIXES, LATEST_SUFFIX))
        }
        self._now = {}

    def merge_into(self, families: Iterable[Metric]) -> Iterator[Metric]:
        """The families, with these counts in them."""
        counts = self._counts()
        for family in families:
            family.samples = [_with(counts, sample) for sample in family.samples]
            family.samples += [
                Sample(count.name, count.labels, count.value)
                for count in counts.values()
                if count.family == family.name
            ]
            yield family

    def _counts(self) -> dict[_Key, WorkerSample]:
        together = dict(self._kept)
        for key, count in self._now.items():
            before = together.get(key)
            value = count.value if before is None else _joined(key[0], before.value, count.value)
            together[key] = msgspec.structs.replace(count, value=value)
        return together


def _with(counts: dict[_Key, WorkerSample], sample: Sample) -> Any:
    """The sample, and the count that was for it, which is then used up."""
    count = counts.pop((sample.name, frozenset(sample.labels.items())), None)
    if count is None:
        return sample
    return sample._replace(value=_joined(sample.name, sample.value, count.value))


def _joined(name: str, one: float, other: float) -> float:
    return max(one, other) if name.endswith(LATEST_SUFFIX) else one + other
