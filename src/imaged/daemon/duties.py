"""What an instance does without being asked: a loop that can be off, woken and ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio

from imaged.services.loops import Alarm, repeat

WHILE_OFF = timedelta(days=1)  # a reload wakes it earlier


class Duty:
    """Does something every so often; every ``timedelta(0)`` means never."""

    def __init__(
        self, name: str, once: Callable[[], Awaitable[object]], every: Callable[[], timedelta]
    ) -> None:
        self._name = name
        self._once = once
        self._every = every
        self._alarm = Alarm()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Do it until it is ended."""
        with self._scope:
            await repeat(
                self._name, self._unless_off, lambda: self._every() or WHILE_OFF, self._alarm
            )

    def wake(self) -> None:
        """Do it now: something may have changed."""
        self._alarm.ring()

    def end(self) -> None:
        """Do it no more."""
        self._scope.cancel()

    async def _unless_off(self) -> None:
        if self._every():
            await self._once()
