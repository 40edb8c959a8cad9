"""Runs jobs periodically: run, pause, run again, until cancelled."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf

import anyio
import structlog

from imaged.core.errors import ImagedError

log = structlog.get_logger()

JITTER = 0.1  # spreads the rounds of several instances


class Wakeup:
    """Ends a pause early."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._wakes_at = -inf

    @property
    def remaining(self) -> timedelta:
        """The remaining time of the current pause; 0 without one."""
        return timedelta(seconds=max(0.0, self._wakes_at - anyio.current_time()))

    def wake(self) -> None:
        """End the current pause, or the next one."""
        self._event.set()

    async def pause(self, pause: timedelta) -> None:
        """Wait for this time, or until ``wake`` is called."""
        with anyio.move_on_after(pause.total_seconds()) as scope:
            self._wakes_at = scope.deadline
            await self._event.wait()
        self._wakes_at = -inf
        self._event = anyio.Event()


async def run_periodically(
    duty: str,
    once: Callable[[], Awaitable[object]],
    every: Callable[[], timedelta],
    wakeup: Wakeup | None = None,
) -> None:
    """Run a job until cancelled. Errors are logged, once per change, and the next round retries.

    ``every`` is called before each pause, so that a reloaded setting applies immediately.
    """
    wakeup, trouble = wakeup or Wakeup(), ""
    while True:
        try:
            await once()
            trouble = ""
        except ImagedError as error:
            if str(error) != trouble:
                log.warning("duty.failed", duty=duty, error=str(error))
            trouble = str(error)
        except Exception as error:
            if repr(error) != trouble:
                log.exception("duty.crashed", duty=duty)
            trouble = repr(error)
        await wakeup.pause(every() * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret
