"""Outages: a store or the catalog that does not work. Told when one begins, counted once a minute
while it lasts, and told when it is over.

A watch is a meter: it hears of every operation, and passes it on. Refusals are answers, not
outages: a store that is full, or has no such blob, works. An outage is over when an operation
succeeds and none failed for a while: a part that fails now and then does not flicker.
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
    """An outage that is over."""

    failures: int
    lasted: timedelta


@dataclass(slots=True)
class Outage:
    """Whether a part works. Instants are seconds of one clock."""

    failures: int = 0
    unlogged: int = 0
    began_at: float = 0.0
    logged_at: float = 0.0
    failed_at: float = 0.0

    def fail(self, now: float) -> int:
        """Note a failure; how many are to be told now, this one and those before it."""
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
        """Note a success; the recovery, if it is one."""
        if not self.failures or now - self.failed_at < RECOVERED_AFTER.total_seconds():
            return None
        recovery = Recovery(self.failures, timedelta(seconds=round(now - self.began_at, 3)))
        self.failures = self.unlogged = 0
        return recovery


def watch_store(store: str, meter: Meter, now: Callable[[], float] = monotonic) -> Meter:
    """A meter for a store that logs its outages, and passes everything on."""
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
    """Another store's error may pass through a write, where bytes come from there."""
    if not isinstance(error, StoreError) or isinstance(error, NOT_OUTAGES):
        return False
    return error.store == store


def watch_catalog(meter: Meter, now: Callable[[], float] = monotonic) -> Meter:
    """A meter for the catalog that logs its outages, and passes everything on."""
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
