"""Detects outages of stores, catalog, Keystone and the receiver of events, and logs beginning and
end, once each.

A watch wraps a meter: it sees every operation and passes it on. Refusals are answers, not outages:
a full store works, and so does one without the requested blob. An outage ends with a success at
least ``RECOVERED_AFTER`` after the last failure, so an intermittent fault does not flap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import structlog

from imaged.core.errors import (
    CatalogError,
    KeystoneError,
    ReceiverError,
    StoreError,
    TokenRefused,
)
from imaged.ports.meter import Meter

log = structlog.get_logger()

RECOVERED_AFTER = timedelta(seconds=10)  # without a failure


@dataclass(frozen=True, slots=True)
class Recovery:
    """The summary of an outage that ended."""

    failures: int
    lasted: timedelta


@dataclass(slots=True)
class Outage:
    """Tracks whether a part works. Instants are seconds of one monotonic clock."""

    failures: int = 0
    began_at: float = 0.0
    failed_at: float = 0.0

    def fail(self, now: float) -> bool:
        """Record a failure; return whether an outage begins with it."""
        begins = not self.failures
        self.failures += 1
        self.failed_at = now
        if begins:
            self.began_at = now
        return begins

    def succeed(self, now: float) -> Recovery | None:
        """Record a success; return the recovery if it ends an outage."""
        if not self.failures or now - self.failed_at < RECOVERED_AFTER.total_seconds():
            return None
        recovery = Recovery(self.failures, timedelta(seconds=round(now - self.began_at, 3)))
        self.failures = 0
        return recovery


def watch_store(store: str, meter: Meter, now: Callable[[], float] = monotonic) -> Meter:
    """Return a meter that logs a store's outages and passes each operation to ``meter``."""
    outage = Outage()

    def watch(what: str, seconds: float, error: BaseException | None) -> None:
        meter(what, seconds, error)
        if _is_outage_of(store, error):
            if outage.fail(now()):
                log.error("store.degraded", store=store, operation=what, error=str(error))
        elif error is None and (recovery := outage.succeed(now())):
            log.info(
                "store.recovered",
                store=store,
                failures=recovery.failures,
                lasted_s=recovery.lasted.total_seconds(),
            )

    return watch


def _is_outage_of(store: str, error: BaseException | None) -> bool:
    """Whether this store failed: a copy may raise the error of its source store instead."""
    return isinstance(error, StoreError) and error.is_outage and error.store == store


def watch_receiver(meter: Meter, now: Callable[[], float] = monotonic) -> Meter:
    """Return a meter that logs outages of the receiver of notifications and passes each request to
    ``meter``.
    """
    outage = Outage()

    def watch(what: str, seconds: float, error: BaseException | None) -> None:
        meter(what, seconds, error)
        if isinstance(error, ReceiverError) and error.is_outage:
            if outage.fail(now()):
                log.error("receiver.degraded", error=str(error))
        elif error is None and (recovery := outage.succeed(now())):
            log.info(
                "receiver.recovered",
                failures=recovery.failures,
                lasted_s=recovery.lasted.total_seconds(),
            )

    return watch


def watch_catalog(meter: Meter, now: Callable[[], float] = monotonic) -> Meter:
    """Return a meter that logs the catalog's outages and passes each operation to ``meter``."""
    outage = Outage()

    def watch(what: str, seconds: float, error: BaseException | None) -> None:
        meter(what, seconds, error)
        if isinstance(error, CatalogError):
            if outage.fail(now()):
                log.error("catalog.degraded", operation=what, error=str(error))
        elif error is None and (recovery := outage.succeed(now())):
            log.info(
                "catalog.recovered",
                failures=recovery.failures,
                lasted_s=recovery.lasted.total_seconds(),
            )

    return watch


class KeystoneWatch:
    """A meter that logs Keystone's outages, and passes each operation to ``meter``. A refused token
    is an answer.
    """

    def __init__(self, meter: Meter, now: Callable[[], float] = monotonic) -> None:
        self._meter = meter
        self._now = now
        self._outage = Outage()

    @property
    def failing_seconds(self) -> float | None:
        """For how long it has been failing; None if it works."""
        return self._now() - self._outage.began_at if self._outage.failures else None

    def __call__(self, what: str, seconds: float, error: BaseException | None, /) -> None:
        """Report an operation."""
        self._meter(what, seconds, error)
        if isinstance(error, KeystoneError):
            if self._outage.fail(self._now()):
                log.error("keystone.degraded", operation=what, error=str(error))
        elif error is None or isinstance(error, TokenRefused):
            recovery = self._outage.succeed(self._now())
            if recovery is not None:
                log.info(
                    "keystone.recovered",
                    failures=recovery.failures,
                    lasted_s=recovery.lasted.total_seconds(),
                )
