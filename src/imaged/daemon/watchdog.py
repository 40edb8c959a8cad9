"""Feeds the systemd watchdog while the event loop runs and every driver responds.

An error is a response: ``/readyz`` and the log report a failing store, and a restart would not
repair it. A restart does repair a call that never returns: a lost wake-up, exhausted threads, a
blocked loop. Drivers have their own timeouts, so a call that takes longer than half of the
watchdog's time hangs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta

import anyio

from imaged.core.errors import CatalogError, StoreError
from imaged.daemon.drivers import Drivers
from imaged.process.sd_notify import SystemdNotifier

HealthCheck = Callable[[], Awaitable[None]]


async def run_watchdog(notifier: SystemdNotifier, drivers: Drivers) -> None:
    """Feed the watchdog twice per interval until cancelled; return at once without a watchdog."""
    if notifier.watchdog is None:
        return
    half = notifier.watchdog / 2
    checks = [drivers.catalog.check, *(store.check for store in drivers.stores.by_name.values())]
    while True:
        next_at = anyio.current_time() + half.total_seconds()
        if await all_respond(checks, half):
            notifier.feed_watchdog()
        await anyio.sleep_until(next_at)


async def all_respond(checks: Sequence[HealthCheck], within: timedelta) -> bool:
    """Whether each check returns or raises in time."""
    with anyio.move_on_after(within.total_seconds()) as scope:
        async with anyio.create_task_group() as tasks:
            for check in checks:
                tasks.start_soon(_run_check, check)
    return not scope.cancelled_caught


async def _run_check(check: HealthCheck) -> None:
    with suppress(CatalogError, StoreError):  # an error is a response
        await check()
