"""Whether the catalog's clock can be believed, judged by the time that really passed.

A machine's uptime is never set, and goes on while the machine is suspended. So the wall clock and
the uptime of one machine must move alike; where they do not, the wall clock stepped. While a
machine is off, its uptime tells nothing: the wall clock may have gone ahead by any time.

A step is waited out: until as much time has really passed as the clock skipped, and as long as the
longest delay. What was dated before the step has then really waited for as long as was promised,
and no operator is needed. A clock that was behind and is set right has stepped ahead, too: what was
dated meanwhile looks older than it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from imaged.core.blob import MAX_RETRY_DELAY, Blob

#: What no drift, and no time service that works, does to a clock between two looks.
CLOCK_TOLERANCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockMark:
    """A moment by the catalog's clock, and by the uptime of the machine that read it.

    While a step is waited out, the moment is the last one before the step.
    """

    at: datetime
    boot_id: str  # of that machine; another one after each boot
    uptime: timedelta
    step: timedelta = timedelta(0)  # by which the clock stepped since ``at``
    held_until: timedelta | None = None  # uptime; None: the clock is believed

    @property
    def is_held(self) -> bool:
        """Whether a step is being waited out."""
        return self.held_until is not None


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What the catalog says of its clock."""

    now: datetime
    mark: ClockMark | None = None  # the last one that an instance noted
    confirmations: int = 0  # how often an operator has said that the clock is right


def step_between(before: ClockMark, now: ClockMark) -> timedelta:
    """By how much the clock moved more than time passed; negative: it went back.

    Of another boot it is not known how much time passed: all that the clock says may be a step.
    """
    passed = now.at - before.at
    if before.boot_id == now.boot_id:
        passed -= now.uptime - before.uptime
    return passed


def has_jumped(before: ClockMark, now: ClockMark, max_step: timedelta) -> bool:
    """Whether leases that were dated before may now seem to be over, or to last for ever."""
    allowed = CLOCK_TOLERANCE if before.boot_id == now.boot_id else max_step
    return abs(step_between(before, now)) > allowed


def evaluate_clock(
    before: ClockMark, now: ClockMark, max_step: timedelta, longest_delay: timedelta
) -> ClockMark:
    """The mark to go on with: ``now`` where the clock is believed, else one that is held.

    A step of more than ``max_step`` is waited out, unless it was ahead and is undone before. A
    machine that was off says nothing of the time: the clock is believed when it goes evenly for
    ``max_step``, unless a step was being waited out before. ``longest_delay``: of all that end by
    this clock.
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
    """A clock that was behind goes as it did before: a step ahead, as long as it matters."""
    return replace(now, at=now.at - step, step=step, held_until=now.uptime + step)


def redate_blob(blob: Blob, now: datetime, quarantine: timedelta) -> Blob:
    """A doomed blob, with a new moment where its own lies further ahead than anything explains.

    A failure puts off by an hour at most, and so does being taken. A stray waits for
    ``quarantine``.
    """
    if blob.due_at is None:
        return blob
    may_be_stray = not (blob.failures or blob.is_swept or blob.awaited_by)
    longest = max(quarantine, MAX_RETRY_DELAY) if may_be_stray else MAX_RETRY_DELAY
    if blob.due_at <= now + longest + CLOCK_TOLERANCE:
        return blob
    return replace(blob, due_at=now + quarantine if may_be_stray else now)
