"""What an instance does without being asked: loops that can be off, woken and ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta

import anyio
from anyio.abc import TaskGroup

from imaged.config import Config
from imaged.config.sections import Role
from imaged.daemon.container import ServiceContainer
from imaged.ports.meter import Meter, Timing, ignore_measurement
from imaged.services.periodic import Wakeup, run_periodically

CHECKPOINT_INTERVAL = timedelta(seconds=10)
DISABLED_RECHECK = timedelta(days=1)  # a reload wakes it earlier

RunOnce = Callable[[], Awaitable[object]]
Interval = Callable[[], timedelta]


class PeriodicJob:
    """Does something every so often; every ``timedelta(0)`` means never."""

    def __init__(
        self,
        name: str,
        once: RunOnce,
        every: Interval,
        meter: Meter = ignore_measurement,
    ) -> None:
        self.name = name
        self._once = once
        self._every = every
        self._meter = meter
        self._wakeup = Wakeup()
        self._scope = anyio.CancelScope()

    @property
    def next_in(self) -> timedelta | None:
        """How long until the next round, 0 during one; None: it is off."""
        return self._wakeup.remaining if self._every() else None

    async def run(self) -> None:
        """Do it until it is ended."""
        with self._scope:
            await run_periodically(
                self.name,
                self._run_unless_disabled,
                lambda: self._every() or DISABLED_RECHECK,
                self._wakeup,
            )

    def wake(self) -> None:
        """Do it now: something may have changed."""
        self._wakeup.wake()

    def stop(self) -> None:
        """Do it no more."""
        self._scope.cancel()

    async def _run_unless_disabled(self) -> None:
        if self._every():
            with Timing(self._meter, self.name):
                await self._once()


def job_names(roles: Collection[Role]) -> Sequence[str]:
    """The duties of an instance with these roles."""
    names = ["reclaimer", "task_expiry", "checkpoint"]
    if {"scrubber", "tasks"} & {*roles}:
        names.append("sweeper")  # also where tasks are worked on: scratch is of one machine
    if "scrubber" in roles:
        names += ["scrubber", "reconcile"]
    return names


class BackgroundJobs:
    """All that an instance of these roles does."""

    def __init__(self, services: ServiceContainer, config: Callable[[], Config]) -> None:
        every: Mapping[str, tuple[RunOnce, Interval]] = {
            "reclaimer": (services.reclaimer.run_due, lambda: config().claims.renew_every),
            "task_expiry": (services.expire_tasks, lambda: config().claims.renew_every),
            "checkpoint": (services.database.shorten_log, lambda: CHECKPOINT_INTERVAL),
            "sweeper": (services.sweeper.run_due, lambda: config().scrubber.every),
            "scrubber": (services.scrubber.run_due, lambda: config().scrubber.every),
            "reconcile": (services.reconcile.run_due, lambda: config().reconcile.every),
        }
        self._all = [
            PeriodicJob(name, *every[name], services.duty_meter)
            for name in job_names(config().daemon.roles)
        ]

    def start(self, tasks: TaskGroup) -> None:
        """Do them all, side by side."""
        for job in self._all:
            tasks.start_soon(job.run)

    def wake(self) -> None:
        """Do them now: something may have changed."""
        for job in self._all:
            job.wake()

    def stop(self) -> None:
        """Do them no more."""
        for job in self._all:
            job.stop()

    def next_in(self, name: str) -> timedelta | None:
        """How long until the next round of one of them; None: it is off, or not done here."""
        return next((job.next_in for job in self._all if job.name == name), None)
