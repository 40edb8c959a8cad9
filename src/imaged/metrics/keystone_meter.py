"""Metrics of requests to Keystone."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from imaged.core.errors import ImagedError, KeystoneError
from imaged.ports.identity import KEYSTONE_OPERATIONS

#: Seconds: from memory, with the work of a login, and up to the time that all endpoints have.
KEYSTONE_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class KeystoneMeter:
    """The ``Meter`` of requests to Keystone."""

    def __init__(self, registry: CollectorRegistry) -> None:
        seconds = Histogram(
            "imaged_keystone_request_seconds",
            "Duration of requests to Keystone, with all endpoints that were tried.",
            ("operation",),
            buckets=KEYSTONE_BUCKETS,
            registry=registry,
        )
        errors = Counter(
            "imaged_keystone_errors",
            "Requests that Keystone did not answer, or not to the account of imaged.",
            ("operation",),
            registry=registry,
        )
        self._seconds = {name: seconds.labels(name) for name in KEYSTONE_OPERATIONS}
        self._errors = {name: errors.labels(name) for name in KEYSTONE_OPERATIONS}

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """Record a request. A refused token is an answer; a cancelled request is not counted."""
        if isinstance(error, KeystoneError):
            self._errors[what].inc()
        elif error is not None and not isinstance(error, ImagedError):
            return
        self._seconds[what].observe(seconds)
