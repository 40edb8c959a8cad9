"""What systemd is told: the activity of this instance every few seconds, and that it is alive.

The process itself knows traffic, tasks and jobs. The catalog counts the rest and is asked less
often; if it does not answer, the line omits its counts. During a drain, each report also extends
the stop timeout a little: systemd soon kills a drain that hangs, and waits for one that works.

The watchdog is fed while the event loop runs and every driver responds. An error is a response:
``/readyz`` and the log report a failing store, and a restart would not repair it. A restart does
repair a call that never returns: a lost wake-up, exhausted threads, a blocked loop. Drivers have
their own timeouts, so a call that takes longer than half of the watchdog's time hangs.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from imaged.config.sections import Role
from imaged.core.errors import CatalogError, StoreError
from imaged.core.lifecycle import Status
from imaged.daemon.drivers import Drivers
from imaged.ports.catalog import StatusCatalog
from imaged.services.health import Health
from imaged.services.traffic import Rate
from imaged.units import MICROSECOND, approximate_size, pluralize, short_duration

NOTIFY_TIMEOUT_SECONDS = 1.0  # if systemd does not read
STATUS_INTERVAL_SECONDS = 3
SUMMARY_INTERVAL_SECONDS = 30
EXTEND_TIMEOUT = timedelta(seconds=30)  # per report: enough to release claims and to close
EXTEND_AFTER_DRAIN = timedelta(seconds=30)  # extensions end this long after drain_timeout

HealthCheck = Callable[[], Awaitable[None]]


class SystemdNotifier:
    """Sends the state of this process to systemd; does nothing without systemd.

    It removes its variables from the environment, because children must not use them.
    ``watchdog``: the longest allowed time between two calls of ``feed_watchdog``; None if off.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        offered = os.environ if environment is None else environment
        self._address = offered.pop("NOTIFY_SOCKET", "")
        self.watchdog = _watchdog(offered.pop("WATCHDOG_USEC", ""), offered.pop("WATCHDOG_PID", ""))

    def ready(self, status: str) -> None:
        """Report that the start, or a reload, is complete."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Report that a reload has begun."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def status(self, status: str) -> None:
        """Set the status line of ``systemctl status``."""
        self._send(f"STATUS={status}")

    def feed_watchdog(self) -> None:
        """Tell the watchdog that the process is alive."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str, timeout: timedelta) -> None:
        """Report the shutdown, and have systemd wait at least ``timeout`` from now."""
        self._send(
            "STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={timeout // MICROSECOND}"
        )

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # the abstract namespace
            address = "\0" + address[1:]
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(NOTIFY_TIMEOUT_SECONDS)
            channel.sendto("\n".join(lines).encode(), address)


def _watchdog(microseconds: str, pid: str) -> timedelta | None:
    """Return the watchdog's time; None if it is off or meant for another process."""
    if not microseconds.isdecimal() or pid not in {"", str(os.getpid())}:
        return None
    return int(microseconds) * MICROSECOND or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The activity of an instance. None: unknown, or outside the roles of the instance."""

    uploads: int | None = None
    received_bytes_per_second: float = 0.0
    downloads: int = 0
    sent_bytes_per_second: float = 0.0
    tasks: int | None = None  # run by this instance
    pending_delete: int | None = None  # images, on the whole catalog
    next_scrub: timedelta | None = None  # 0: now


class Transfers(Protocol):
    """The transfers of an instance; totals only grow."""

    @property
    def uploads_in_flight(self) -> int:
        """Bodies being written to a store."""
        ...

    @property
    def downloads_in_flight(self) -> int:
        """Bodies being sent."""
        ...

    @property
    def received_bytes(self) -> int:
        """The bytes of all uploads so far."""
        ...

    @property
    def sent_bytes(self) -> int:
        """The bytes of all downloads so far."""
        ...


class StatusReporter:
    """Sends status reports. ``transfers``, ``running``: return this instance's transfers, and the
    ids of its running tasks.
    """

    def __init__(
        self,
        notifier: SystemdNotifier,
        catalog: StatusCatalog,
        transfers: Callable[[], Transfers],
        running: Callable[[], Collection[str]],
        health: Health,
        *,
        roles: Collection[Role],
        next_scrub: Callable[[], timedelta | None],
    ) -> None:
        self._notifier = notifier
        self._catalog = catalog
        self._counts = transfers
        self._running = running
        self._answers = "api" in roles
        self._works = "tasks" in roles
        self._next_scrub = next_scrub
        self._received, self._sent = Rate(), Rate()
        self._pending: int | None = None
        self._health = health
        self._draining_until: float | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Report readiness, and start the periodic reports."""
        self._notifier.ready(self.status_text())
        tasks.start_soon(self._summarize_forever)
        tasks.start_soon(self._report_forever)

    def reloading(self) -> None:
        """Report that a reload has begun."""
        self._notifier.reloading()

    def reloaded(self) -> None:
        """Report the end of a reload."""
        self._notifier.ready(self.status_text())

    def draining(self, timeout: timedelta) -> None:
        """Report the begin of a drain, which takes ``timeout`` at most."""
        self._draining_until = anyio.current_time() + timeout.total_seconds()
        self.report()

    def report(self) -> None:
        """Send one report; during a drain, extend the stop timeout."""
        if self._draining_until is None:
            self._notifier.status(self.status_text())
        elif self._left(self._draining_until) + EXTEND_AFTER_DRAIN > timedelta(0):
            self._notifier.stopping(self.status_text(), EXTEND_TIMEOUT)

    def status_text(self) -> str:
        """Return the current status line."""
        if self._draining_until is None:
            return status_line(self._state(), self._activity())
        left = max(self._left(self._draining_until), timedelta(0))
        return status_line(f"draining for {short_duration(left)} at most", self._transfers())

    def _state(self) -> str:
        """The same as ``/readyz`` says."""
        troubles = ", ".join(self._health.known_troubles())
        state = f"not ready: {troubles}" if troubles else "ready"
        rejected = self._health.is_reload_rejected
        return f"{state}, but the last reload was rejected" if rejected else state

    def _activity(self) -> Activity:
        return replace(
            self._transfers(),
            tasks=len(self._running()) if self._works else None,
            pending_delete=self._pending,
            next_scrub=self._next_scrub(),
        )

    def _transfers(self) -> Activity:
        traffic, now = self._counts(), anyio.current_time()
        return Activity(
            uploads=traffic.uploads_in_flight if self._answers else None,
            received_bytes_per_second=self._received.per_second(traffic.received_bytes, now),
            downloads=traffic.downloads_in_flight,
            sent_bytes_per_second=self._sent.per_second(traffic.sent_bytes, now),
        )

    async def _report_forever(self) -> None:
        while True:
            await anyio.sleep(STATUS_INTERVAL_SECONDS)
            if self._health.known_troubles():  # so that their end is reported soon
                await self._health.troubles()
            self.report()

    async def _summarize_forever(self) -> None:
        while True:
            await self._count()
            await self._health.troubles()
            self.report()
            await anyio.sleep(SUMMARY_INTERVAL_SECONDS)

    async def _count(self) -> None:
        try:
            summary = await self._catalog.summarize()
        except CatalogError:  # reported by health
            self._pending = None
            return
        self._pending = summary.images.get(Status.PENDING_DELETE, 0)

    def _left(self, moment: float) -> timedelta:
        return timedelta(seconds=moment - anyio.current_time())


def status_line(state: str, activity: Activity) -> str:
    """Return ``ready: 3 uploads (1.2 GiB/s), 2 tasks, 17 pending delete, next scrub 42 s``."""
    return f"{state}: {', '.join(_facts(activity)) or 'idle'}"


def _facts(activity: Activity) -> Iterator[str]:
    if activity.uploads is not None:
        yield _transfers(activity.uploads, "upload", activity.received_bytes_per_second)
    if activity.downloads:
        yield _transfers(activity.downloads, "download", activity.sent_bytes_per_second)
    if activity.tasks is not None:
        yield pluralize(activity.tasks, "task")
    if activity.pending_delete is not None:
        yield f"{activity.pending_delete} pending delete"
    if activity.next_scrub is not None:
        yield (
            f"next scrub {short_duration(activity.next_scrub)}"
            if activity.next_scrub
            else "scrubbing"
        )


def _transfers(count: int, what: str, bytes_per_second: float) -> str:
    speed = f" ({approximate_size(int(bytes_per_second))}/s)" if count else ""
    return pluralize(count, what) + speed


async def run_watchdog(
    notifier: SystemdNotifier, drivers: Drivers, more_checks: Sequence[HealthCheck] = ()
) -> None:
    """Feed the watchdog twice per interval until cancelled; return at once without a watchdog."""
    if notifier.watchdog is None:
        return
    half = notifier.watchdog / 2
    stores = [store.check for store in drivers.stores.by_name.values()]
    checks: list[HealthCheck] = [drivers.catalog.check, *stores, *more_checks]
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
