"""Detects steps of the catalog's clock by comparing it with a machine's uptime.

The uptime of a machine is never set and continues while the machine is suspended. So the wall clock
and the uptime of one machine advance equally; if they do not, the wall clock stepped. Uptimes of
different boots cannot be compared: while a machine is off, the wall clock may advance by any
amount.

After a step, expiry is suspended until as much time has really passed as the clock skipped, and at
least the longest delay. Timestamps from before the step have then really waited as long as
promised, and no operator is needed. A clock that was behind and is corrected steps ahead as well:
timestamps from the time before look older than they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from imaged.core.blob import DELETION_RETRIES, Blob

#: Larger than any drift or correction by a working time service between two observations.
CLOCK_TOLERANCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMark:
    """A moment by the catalog's clock, and by the uptime of the machine that read it.

    While expiry is suspended, the moment is the last one before the step.
    """

    at: datetime
    boot_id: str  # of that machine; it changes with every boot
    uptime: timedelta
    step: timedelta = timedelta(0)  # of the clock since ``at``
    held_until: timedelta | None = None  # uptime; None: the clock is trusted

    @property
    def is_held(self) -> bool:
        """Whether expiry is suspended because of a step."""
        return self.held_until is not None


@dataclass(frozen=True, slots=True)
class ClockReading:
    """The catalog's record of its clock."""

    now: datetime
    mark: ClockMark | None = None  # the last one stored by an instance
    confirmations: int = 0  # number of times an operator confirmed the clock


def step_between(before: ClockMark, now: ClockMark) -> timedelta:
    """The difference between clock and real time since ``before``; negative: the clock went back.

    If the machine was rebooted, the real time is unknown: the whole difference counts as a step.
    """
    passed = now.at - before.at
    if before.boot_id == now.boot_id:
        passed -= now.uptime - before.uptime
    return passed


def has_jumped(
    before: ClockMark, now: ClockMark, max_step: timedelta, uncertainty: timedelta
) -> bool:
    """Whether leases dated before ``now`` may seem expired too early, or never expire.

    ``uncertainty``: by how much the readings may be early or late in all, as their calls took time.
    """
    allowed = CLOCK_TOLERANCE if before.boot_id == now.boot_id else max_step
    return abs(step_between(before, now)) > allowed + uncertainty


def evaluate_clock(
    before: ClockMark, now: ClockMark, max_step: timedelta, longest_delay: timedelta
) -> ClockMark:
    """The mark to continue with: ``now`` if the clock is trusted, else one that suspends expiry.

    A step of more than ``max_step`` suspends expiry, unless it was ahead and is undone before.
    After a reboot the clock is trusted when it runs evenly for ``max_step``, unless expiry was
    suspended before. ``longest_delay``: the longest of all delays measured by this clock.
    """
    step = step_between(before, now)
    if abs(step) <= max_step:
        was_behind = before.is_held and before.step < -max_step
        return _corrected(now, min(abs(before.step), longest_delay)) if was_behind else now
    is_same_boot = before.boot_id == now.boot_id
    is_known = is_same_boot and before.is_held and abs(step - before.step) <= max_step
    if is_known and before.held_until is not None:
        return now if now.uptime >= before.held_until else before
    is_certain = is_same_boot or before.is_held or step < timedelta(0)
    wait = max(abs(step), longest_delay) if is_certain else max_step
    held_until = now.uptime + wait
    if is_same_boot:
        return replace(before, step=step, held_until=held_until)
    return ClockMark(
        at=before.at,
        boot_id=now.boot_id,
        uptime=now.uptime,
        step=step,
        held_until=held_until,
    )


def _corrected(now: ClockMark, step: timedelta) -> ClockMark:
    """A clock that was behind and is corrected: a step ahead, for as long as it matters."""
    return replace(now, at=now.at - step, step=step, held_until=now.uptime + step)


def redate_blob(blob: Blob, now: datetime, quarantine: timedelta) -> Blob:
    """The doomed blob, redated if its due time is further ahead than any delay explains.

    A failure or a reservation postpones by at most 1 h; a stray waits for ``quarantine``.
    """
    if blob.due_at is None:
        return blob
    may_be_stray = not (blob.failures or blob.is_swept or blob.awaited_by)
    retry = DELETION_RETRIES.longest_pause
    longest = max(quarantine, retry) if may_be_stray else retry
    if blob.due_at <= now + longest + CLOCK_TOLERANCE:
        return blob
    return replace(blob, due_at=now + quarantine if may_be_stray else now)
