"""Adds the counts of the worker process to those of its daemon.

The suffix of a name (https://prometheus.io/docs/practices/naming/) decides how: totals and
histogram series add up over all workers, a timestamp is the latest one, and any other gauge adds
the current worker's value until it exits.
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
    """One sample with its family, name, labels and value."""

    family: str
    name: str
    labels: dict[str, str]
    value: float

    @property
    def key(self) -> _Key:
        """The name and labels, which identify the series."""
        return self.name, frozenset(self.labels.items())


def nonzero_samples(registry: CollectorRegistry) -> list[WorkerSample]:
    """Return all samples that are not 0."""
    return [
        WorkerSample(family.name, sample.name, dict(sample.labels), sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(CREATED_SUFFIX)
    ]


class WorkerCounters:
    """Accumulates the counts of successive workers."""

    def __init__(self) -> None:
        self._now: Mapping[_Key, WorkerSample] = {}
        self._kept: dict[_Key, WorkerSample] = {}  # of workers that exited

    def update(self, counts: Sequence[WorkerSample]) -> None:
        """Replace the counts of the running worker; they count from its start."""
        self._now = {count.key: count for count in counts}

    def worker_exited(self) -> None:
        """Keep the totals of the worker that exited; drop its gauges."""
        self._kept = {
            key: count
            for key, count in self._counts().items()
            if count.name.endswith((*ADDITIVE_SUFFIXES, LATEST_SUFFIX))
        }
        self._now = {}

    def merge_into(self, families: Iterable[Metric]) -> Iterator[Metric]:
        """Yield the families with the workers' counts added."""
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
    """Return the sample with its count added, and remove the count."""
    count = counts.pop((sample.name, frozenset(sample.labels.items())), None)
    if count is None:
        return sample
    return sample._replace(value=_joined(sample.name, sample.value, count.value))


def _joined(name: str, one: float, other: float) -> float:
    return max(one, other) if name.endswith(LATEST_SUFFIX) else one + other
