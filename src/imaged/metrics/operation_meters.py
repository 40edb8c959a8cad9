"""How long stores and the catalog take, and how often they fail."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from imaged.core.errors import CatalogError, ImagedError, StoreError, WriteDiscarded
from imaged.ports.meter import Meter

#: Of a disk that answers, of one under load, of a bucket, of one in trouble.
STORE_BUCKETS = (0.01, 0.1, 1, 10)
CATALOG_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)

STORE_OPERATIONS = ("put", "open", "read", "delete", "check")
TRANSACTION_KINDS = ("read", "write", "check")
CHECK_OPERATION = "check"  # how long it takes tells nothing that the others do not


class StoreMeters:
    """A meter for each store."""

    def __init__(self, registry: CollectorRegistry, stores: Iterable[str]) -> None:
        self._seconds = Histogram(
            "imaged_store_operation_seconds",
            "How long a store took for an operation, without what it waited for a client.",
            ("store", "operation"),
            buckets=STORE_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "imaged_store_errors",
            "Operations that a store could not do.",
            ("store", "operation"),
            registry=registry,
        )
        for store in stores:
            self.of(store)

    def of(self, store: str) -> Meter:
        """The meter of one store. What a body breaks off with is not the store's error."""
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
    """Is the ``Meter`` of the catalog's transactions."""

    def __init__(self, registry: CollectorRegistry) -> None:
        seconds = Histogram(
            "imaged_catalog_transaction_seconds",
            "How long a transaction of the catalog took, with waiting for a connection or a lock.",
            ("kind",),
            buckets=CATALOG_BUCKETS,
            registry=registry,
        )
        errors = Counter(
            "imaged_catalog_errors",
            "Transactions that the catalog could not carry out, or that nobody heard the end of.",
            ("kind",),
            registry=registry,
        )
        self._seconds = {
            kind: seconds.labels(kind) for kind in TRANSACTION_KINDS if kind != CHECK_OPERATION
        }
        self._errors = {kind: errors.labels(kind) for kind in TRANSACTION_KINDS}

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """A refusal is an answer; who was cancelled has heard none."""
        if isinstance(error, CatalogError):
            self._errors[what].inc()
        elif error is not None and not isinstance(error, ImagedError):
            return
        if what != CHECK_OPERATION:
            self._seconds[what].observe(seconds)


def _is_trouble_of(store: str, error: BaseException | None) -> bool:
    """Whether the operator has to look. A write that was deleted meanwhile is nobody's trouble."""
    if not isinstance(error, StoreError) or isinstance(error, WriteDiscarded):
        return False
    return error.store == store
