"""What runs again and again: once, a pause, once more, until it is cancelled."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf

import anyio
import structlog

from imaged.core.errors import ImagedError

log = structlog.get_logger()

JITTER = 0.1  # so that several instances do not all look at the same moment


class Alarm:
    """Ends a pause early."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._rings_at = -inf

    @property
    def rings_in(self) -> timedelta:
        """How long the pause under way goes on; 0 where there is none."""
        return timedelta(seconds=max(0.0, self._rings_at - anyio.current_time()))

    def ring(self) -> None:
        """End the pause that is under way, or the next one."""
        self._event.set()

    async def pause(self, pause: timedelta) -> None:
        """Wait for so long, or until somebody rings."""
        with anyio.move_on_after(pause.total_seconds()) as scope:
            self._rings_at = scope.deadline
            await self._event.wait()
        self._rings_at = -inf
        self._event = anyio.Event()


async def repeat(
    duty: str,
    once: Callable[[], Awaitable[object]],
    every: Callable[[], timedelta],
    alarm: Alarm | None = None,
) -> None:
    """Do a duty for ever. What goes wrong is logged, once per change; the next round tries again.

    ``every`` is asked before each pause, so that a reloaded setting holds at once.
    """
    alarm, trouble = alarm or Alarm(), ""
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
        await alarm.pause(every() * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - no secret
