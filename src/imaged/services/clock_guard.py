"""Checks the catalog's clock before anything is deleted because its time is over.

A service asks after it has found what is due: so a clock that stepped before that is noticed before
anything is deleted. The rules are in ``core/clock.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import anyio
import structlog

from imaged.core.clock import ClockMark, ClockReading, evaluate_clock, has_jumped
from imaged.ports.catalog import ClockCatalog
from imaged.units import approximate_duration

log = structlog.get_logger()

NOTE_INTERVAL = timedelta(minutes=1)
CONFIRM_COMMAND = "imaged scrub --confirm-clock"

#: The id of the machine's boot, and the time since then.
Uptime = Callable[[], tuple[str, timedelta]]


class ClockGuard:
    """Watches the clock for one process. ``uptime`` reads this machine's; ``max_step`` and
    ``longest_delay``, of all delays measured by the clock, may be replaced.
    """

    def __init__(
        self,
        catalog: ClockCatalog,
        uptime: Uptime,
        max_step: timedelta,
        longest_delay: timedelta,
    ) -> None:
        self._catalog = catalog
        self._uptime = uptime
        self._lock = anyio.Lock()
        self._mark: ClockMark | None = None  # the last moment that was trusted, or is held
        self._seen: ClockMark | None = None  # the last reading, trusted or not
        self._seen_uncertainty = timedelta(0)
        self._confirmations = 0
        self._jumped_at: timedelta | None = None  # uptime
        self._noted_at: timedelta | None = None
        self._noted_held = False
        self.max_step = max_step
        self.longest_delay = longest_delay

    @property
    def troubles(self) -> Sequence[str]:
        """A sentence while expiry is suspended."""
        mark, seen = self._mark, self._seen
        if mark is None or mark.held_until is None or seen is None:
            return ()
        left = approximate_duration(max(mark.held_until - seen.uptime, timedelta(0)))
        step = f"The clock stepped by {mark.step.total_seconds():+.0f} s, or the machine was off"
        remedy = f"unless a step ahead is undone: if the clock is right, run `{CONFIRM_COMMAND}`"
        return (f"{step}. Nothing is expired or deleted for {left}, {remedy}.",)

    async def is_reliable(self) -> bool:
        """Whether what seems due is due. Raises CatalogError."""
        async with self._lock:
            return not (await self._look()).is_held

    async def peek(self) -> tuple[datetime, bool]:
        """The catalog's time, and whether it is reliable; nothing is noted. Raises CatalogError."""
        now, reading, _ = await self._read()
        before = self._before(now, reading)
        mark = evaluate_clock(before, now, self.max_step, self.longest_delay)
        return reading.now, not mark.is_held

    async def are_leases_current(self, lease: timedelta) -> bool:
        """Whether all living holders have renewed their leases by the current clock.

        False for one ``lease`` after each step, however small. Raises CatalogError.
        """
        async with self._lock:
            now = await self._look_again()
        return self._jumped_at is None or now.uptime - self._jumped_at >= lease

    async def confirm(self) -> None:
        """An operator confirms the clock: every instance trusts it from its next reading.

        Raises CatalogError.
        """
        async with self._lock:
            now, _, _ = await self._read()
            await self._catalog.confirm_clock(now)

    async def _look(self) -> ClockMark:
        await self._look_again()
        if self._mark is None:
            raise LookupError("a reading leaves a mark")
        return self._mark

    async def _look_again(self) -> ClockMark:
        now, reading, uncertainty = await self._read()
        before = self._before(now, reading)
        mark = evaluate_clock(before, now, self.max_step, self.longest_delay)
        total_uncertainty = self._seen_uncertainty + uncertainty
        if has_jumped(self._seen or before, now, self.max_step, total_uncertainty):
            self._jumped_at = now.uptime
        self._log_change(mark)
        self._mark, self._confirmations = mark, reading.confirmations
        self._seen, self._seen_uncertainty = now, uncertainty
        await self._note(mark, now)
        return now

    def _before(self, now: ClockMark, reading: ClockReading) -> ClockMark:
        """The mark to compare the clock with."""
        if self._mark is None:
            return reading.mark or now
        return now if reading.confirmations != self._confirmations else self._mark

    async def _read(self) -> tuple[ClockMark, ClockReading, timedelta]:
        """The clock now, the catalog's record of it, and the uncertainty of that moment.

        The catalog may have read its clock at the beginning of the call, or at its end.
        """
        _, asked = self._uptime()
        reading = await self._catalog.read_clock()
        boot_id, answered = self._uptime()
        uncertainty = (answered - asked) / 2
        now = ClockMark(at=reading.now, boot_id=boot_id, uptime=asked + uncertainty)
        return now, reading, uncertainty

    async def _note(self, mark: ClockMark, now: ClockMark) -> None:
        """Store the mark for processes that start later; not after every reading."""
        is_news = self._noted_at is None or now.uptime - self._noted_at >= NOTE_INTERVAL
        if is_news or mark.is_held != self._noted_held:
            await self._catalog.note_clock(mark)
            self._noted_at, self._noted_held = now.uptime, mark.is_held

    def _log_change(self, mark: ClockMark) -> None:
        known = self._mark
        if mark.held_until is not None and (known is None or known.step != mark.step):
            log.critical(
                "clock.stepped",
                step_s=round(mark.step.total_seconds(), 3),
                held_for_s=round((mark.held_until - self._uptime()[1]).total_seconds()),
            )
        elif known is not None and known.is_held and not mark.is_held:
            log.info("clock.believed", step_s=round(known.step.total_seconds(), 3))
