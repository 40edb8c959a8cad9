"""Tasks: how they ended, how long those took that succeeded, and how often a worker was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary

from imaged.core.task import FINAL_STATUSES, Task, TaskStatus

VERIFY_TYPE = "verify"


class TaskMeter:
    """Is the ``TaskHook`` of the catalog's journal (``changed``), and the ``Meter`` of attempts.

    ``clock``: seconds since the epoch.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._ended = Counter(
            "imaged_tasks_ended",
            "Tasks that this instance brought to their end, or cancelled, by how they ended.",
            ("type", "outcome"),
            registry=registry,
        )
        self._lost = Counter(
            "imaged_task_attempts_lost",
            "Attempts at tasks that this instance saw lost, and that are made again.",
            registry=registry,
        )
        self._seconds = Summary(
            "imaged_task_seconds",
            "How long attempts at tasks took that succeeded.",
            registry=registry,
        )
        self._verified = Gauge(
            "imaged_last_verify_timestamp_seconds",
            "When this instance last verified the bytes of an image; 0 where it never did.",
            registry=registry,
        )

    def register_types(self, types: Iterable[str]) -> None:
        """Have these types on the page from the start."""
        for name in types:
            for outcome in sorted(FINAL_STATUSES):
                self._ended.labels(name, outcome)

    def changed(self, before: Task | None, after: Task) -> None:
        """A task is in another status, and that was committed."""
        if after.is_final:
            self._ended.labels(after.type, after.status).inc()
        elif before is not None and before.status is TaskStatus.PROCESSING:
            self._lost.inc(after.attempts == before.attempts)  # a stop in good order takes one off
        if after.type == VERIFY_TYPE and after.status is TaskStatus.SUCCESS:
            self._verified.set(self._clock())

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """An attempt at a task of this type ended."""
        del what
        if error is None:
            self._seconds.observe(seconds)
