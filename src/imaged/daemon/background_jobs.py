"""Periodic jobs of an instance: loops that can be disabled, woken and stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
from anyio.abc import TaskGroup

from imaged.config import Config
from imaged.config.sections import Role
from imaged.daemon.container import ServiceContainer
from imaged.ports.meter import Meter, Timing, ignore_measurement
from imaged.services.periodic import Wakeup, run_periodically

CHECKPOINT_INTERVAL = timedelta(seconds=10)
SENT_INTERVAL = timedelta(seconds=1)  # how long ended downloads are collected
UNSENT_INTERVAL = timedelta(hours=1)  # events that were left without a receiver become too old
DISABLED_RECHECK = timedelta(days=1)  # a reload wakes the job earlier

RunOnce = Callable[[], Awaitable[object]]
Interval = Callable[[], timedelta]


@dataclass(slots=True, eq=False)
class PeriodicJob:
    """Runs ``once`` at an interval. ``every``: returns the interval; 0 disables the job."""

    name: str
    once: RunOnce
    every: Interval
    meter: Meter = ignore_measurement
    _wakeup: Wakeup = field(default_factory=Wakeup, init=False)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope, init=False)

    @property
    def next_in(self) -> timedelta | None:
        """The time until the next round, 0 during a round; None if the job is disabled."""
        return self._wakeup.remaining if self.every() else None

    async def run(self) -> None:
        """Run the job until ``stop``."""
        with self._scope:
            await run_periodically(
                self.name,
                self._run_unless_disabled,
                lambda: self.every() or DISABLED_RECHECK,
                self._wakeup,
            )

    def wake(self) -> None:
        """Start the next round now."""
        self._wakeup.wake()

    def stop(self) -> None:
        """Cancel the job."""
        self._scope.cancel()

    async def _run_unless_disabled(self) -> None:
        if self.every():
            with Timing(self.meter, self.name):
                await self.once()


def job_names(roles: Collection[Role]) -> Sequence[str]:
    """Return the names of the jobs of an instance with these roles."""
    names = ["reclaimer", "task_expiry", "checkpoint", "accounts"]
    if {"scrubber", "tasks"} & {*roles}:
        names.append("sweeper")  # task instances too: each machine has its own scratch folder
    if "scrubber" in roles:
        names += ["scrubber", "reconcile", "notifications"]
    if "api" in roles:
        names.append("sent_downloads")
    return names


def job_intervals(
    config: Config, checkpoint_every: timedelta = CHECKPOINT_INTERVAL
) -> Mapping[str, timedelta]:
    """Return the pause between two rounds of each job of this instance; 0 disables the job."""
    receiver = config.notifications
    every = {
        "reclaimer": config.claims.renew_every,
        "task_expiry": config.claims.renew_every,
        "checkpoint": checkpoint_every,
        "sweeper": config.scrubber.every,
        "scrubber": config.scrubber.every,
        "reconcile": config.reconcile.every,
        "accounts": config.reconcile.every,
        "notifications": receiver.poll_every if receiver.url else UNSENT_INTERVAL,
        "sent_downloads": SENT_INTERVAL if receiver.url else timedelta(0),
    }
    return {name: every[name] for name in job_names(config.daemon.roles)}


class BackgroundJobs:
    """Owns the periodic jobs of one instance; its roles select them."""

    def __init__(
        self,
        services: ServiceContainer,
        config: Callable[[], Config],
        checkpoint_every: timedelta = CHECKPOINT_INTERVAL,
    ) -> None:
        rounds: Mapping[str, RunOnce] = {
            "reclaimer": services.reclaimer.run_due,
            "task_expiry": services.expire_tasks,
            "checkpoint": services.database.shorten_log,
            "sweeper": services.sweeper.run_due,
            "scrubber": services.scrubber.run_due,
            "reconcile": services.reconcile.run_due,
            "accounts": services.accounts.run_due,
            "notifications": services.delivery.run_due,
            "sent_downloads": services.sent_downloads.write,
        }

        def interval_of(name: str) -> Interval:
            return lambda: job_intervals(config(), checkpoint_every)[name]

        self._all = [
            PeriodicJob(name, rounds[name], interval_of(name), services.duty_meter)
            for name in job_names(config().daemon.roles)
        ]

    def start(self, tasks: TaskGroup) -> None:
        """Start all jobs."""
        for job in self._all:
            tasks.start_soon(job.run)

    def wake(self) -> None:
        """Start the next round of every job now, for example after a reload."""
        for job in self._all:
            job.wake()

    def stop(self) -> None:
        """Cancel all jobs."""
        for job in self._all:
            job.stop()

    def next_in(self, name: str) -> timedelta | None:
        """Return the time until the next round of a job; None if it is disabled or not run here."""
        return next((job.next_in for job in self._all if job.name == name), None)
