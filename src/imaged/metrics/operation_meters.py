"""Durations and errors of store operations and catalog transactions."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from imaged.core.errors import CatalogError, ImagedError, StoreError, WriteDiscarded
from imaged.ports.meter import STORE_OPERATIONS, TRANSACTION_KINDS, Meter

#: A fast disk, a disk under load, a bucket, a failing one.
STORE_BUCKETS = (0.01, 0.1, 1, 10)
CATALOG_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)

CHECK_OPERATION = "check"  # counted, not timed: other operations show the latency


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


def _is_trouble_of(store: str, error: BaseException | None) -> bool:
    """Whether the store failed. A write whose blob was deleted meanwhile is not a failure."""
    if not isinstance(error, StoreError) or isinstance(error, WriteDiscarded):
        return False
    return error.store == store
