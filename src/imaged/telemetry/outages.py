"""Detects outages of stores and the catalog: logs their begin, a count each minute, and their end.

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
    BlobExists,
    BlobMissing,
    CatalogError,
    StoreError,
    StoreFull,
    WriteDiscarded,
)
from imaged.ports.meter import Meter

log = structlog.get_logger()

OUTAGE_LOG_INTERVAL = timedelta(minutes=1)
RECOVERED_AFTER = timedelta(seconds=10)  # without a failure
NOT_OUTAGES = (BlobExists, BlobMissing, StoreFull, WriteDiscarded)


@dataclass(frozen=True, slots=True)
class Recovery:
    """The summary of an outage that ended."""

    failures: int
    lasted: timedelta


@dataclass(slots=True)
class Outage:
    """Tracks whether a part works. Instants are seconds of one monotonic clock."""

    failures: int = 0
    unlogged: int = 0
    began_at: float = 0.0
    logged_at: float = 0.0
    failed_at: float = 0.0

    def fail(self, now: float) -> int:
        """Record a failure; return how many failures to log now, 0 for none."""
        begins = not self.failures
        self.failures += 1
        self.unlogged += 1
        self.failed_at = now
        if begins:
            self.began_at = now
        elif now - self.logged_at < OUTAGE_LOG_INTERVAL.total_seconds():
            return 0
        self.logged_at, told, self.unlogged = now, self.unlogged, 0
        return told

    def succeed(self, now: float) -> Recovery | None:
        """Record a success; return the recovery if it ends an outage."""
        if not self.failures or now - self.failed_at < RECOVERED_AFTER.total_seconds():
            return None
        recovery = Recovery(self.failures, timedelta(seconds=round(now - self.began_at, 3)))
        self.failures = self.unlogged = 0
        return recovery


def watch_store(store: str, meter: Meter, now: Callable[[], float] = monotonic) -> Meter:
    """Return a meter that logs a store's outages and passes each operation to ``meter``."""
    outage = Outage()

    def watch(what: str, seconds: float, error: BaseException | None) -> None:
        meter(what, seconds, error)
        if _is_outage_of(store, error):
            if failures := outage.fail(now()):
                log.error(
                    "store.degraded",
                    store=store,
                    operation=what,
                    failures=failures,
                    error=str(error),
                )
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
    if not isinstance(error, StoreError) or isinstance(error, NOT_OUTAGES):
        return False
    return error.store == store


def watch_catalog(meter: Meter, now: Callable[[], float] = monotonic) -> Meter:
    """Return a meter that logs the catalog's outages and passes each operation to ``meter``."""
    outage = Outage()

    def watch(what: str, seconds: float, error: BaseException | None) -> None:
        meter(what, seconds, error)
        if isinstance(error, CatalogError):
            if failures := outage.fail(now()):
                log.error("catalog.degraded", operation=what, failures=failures, error=str(error))
        elif error is None and (recovery := outage.succeed(now())):
            log.info(
                "catalog.recovered",
                failures=recovery.failures,
                lasted_s=recovery.lasted.total_seconds(),
            )

    return watch
