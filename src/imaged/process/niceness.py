"""Who goes first, where processors are scarce."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

LOWER_NICENESS = 5  # a third of the share of those at 0, where both want a processor
LOWEST_NICENESS = 19  # after everything else
AUTOGROUP = Path("/proc/self/autogroup")

log = structlog.get_logger()


def lower_priority() -> None:
    """Leave the processors first to the process that started this one, and one of them to others
    altogether: they need not even wait until we are put aside (decision 24).

    Call it before there is any thread, as ``lowest_priority``. Not the last, because a worker
    shares its control group, or its session, with everything else there, and would starve beside
    what never rests.
    """
    try:
        os.nice(LOWER_NICENESS)
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[1:] or processors)
    except OSError as error:
        log.debug("priority.refused", error=str(error))


def lowest_priority() -> None:
    """Leave the processors to everybody else: for a process that nobody waits for (decision 24).

    Call it before there is any thread: niceness is a thread's on Linux, and passed on to those that
    it starts, and to children. Between sessions it counts for nothing, because each has an equal
    share of its own (sched(7), autogroup); so a process that leads a session, as a service does,
    lowers the share. Where a sandbox forbids it, everything works, and others wait.
    """
    try:
        os.nice(LOWEST_NICENESS)
        if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
            AUTOGROUP.write_text(str(LOWEST_NICENESS))
    except OSError as error:
        log.debug("priority.refused", error=str(error))
