"""What an instance does without being asked: loops that can be off, woken and ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta

import anyio
from anyio.abc import TaskGroup

from imaged.config import Config
from imaged.config.sections import Role
from imaged.daemon.assembly import Services
from imaged.ports.meter import Meter, Timing, tell_nobody
from imaged.services.loops import Alarm, repeat

CHECKPOINT_EVERY = timedelta(seconds=10)
WHILE_OFF = timedelta(days=1)  # a reload wakes it earlier

Once = Callable[[], Awaitable[object]]
Every = Callable[[], timedelta]


class Duty:
    """Does something every so often; every ``timedelta(0)`` means never."""

    def __init__(
        self,
        name: str,
        once: Once,
        every: Every,
        meter: Meter = tell_nobody,
    ) -> None:
        self.name = name
        self._once = once
        self._every = every
        self._meter = meter
        self._alarm = Alarm()
        self._scope = anyio.CancelScope()

    @property
    def next_in(self) -> timedelta | None:
        """How long until the next round, 0 during one; None: it is off."""
        return self._alarm.rings_in if self._every() else None

    async def run(self) -> None:
        """Do it until it is ended."""
        with self._scope:
            await repeat(
                self.name, self._unless_off, lambda: self._every() or WHILE_OFF, self._alarm
            )

    def wake(self) -> None:
        """Do it now: something may have changed."""
        self._alarm.ring()

    def end(self) -> None:
        """Do it no more."""
        self._scope.cancel()

    async def _unless_off(self) -> None:
        if self._every():
            with Timing(self._meter, self.name):
                await self._once()


def names_of(roles: Collection[Role]) -> Sequence[str]:
    """The duties of an instance with these roles."""
    names = ["reclaimer", "task_expiry", "checkpoint"]
    if {"scrubber", "tasks"} & {*roles}:
        names.append("sweeper")  # also where tasks are worked on: scratch is of one machine
    if "scrubber" in roles:
        names += ["scrubber", "reconcile"]
    return names


class Duties:
    """All that an instance of these roles does."""

    def __init__(self, services: Services, config: Callable[[], Config]) -> None:
        every: Mapping[str, tuple[Once, Every]] = {
            "reclaimer": (services.reclaimer.run_due, lambda: config().claims.renew_every),
            "task_expiry": (services.expire_tasks, lambda: config().claims.renew_every),
            "checkpoint": (services.database.shorten_log, lambda: CHECKPOINT_EVERY),
            "sweeper": (services.sweeper.run_due, lambda: config().scrubber.every),
            "scrubber": (services.scrubber.run_due, lambda: config().scrubber.every),
            "reconcile": (services.reconcile.run_due, lambda: config().reconcile.every),
        }
        self._all = [
            Duty(name, *every[name], services.duty_meter)
            for name in names_of(config().daemon.roles)
        ]

    def begin(self, tasks: TaskGroup) -> None:
        """Do them all, side by side."""
        for duty in self._all:
            tasks.start_soon(duty.run)

    def wake(self) -> None:
        """Do them now: something may have changed."""
        for duty in self._all:
            duty.wake()

    def end(self) -> None:
        """Do them no more."""
        for duty in self._all:
            duty.end()

    def next_in(self, name: str) -> timedelta | None:
        """How long until the next round of one of them; None: it is off, or not done here."""
        return next((duty.next_in for duty in self._all if duty.name == name), None)
