"""Who goes first, where processors are scarce."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

NICENESS = 19  # after everything else
AUTOGROUP = Path("/proc/self/autogroup")

log = structlog.get_logger()


def go_last() -> None:
    """Leave the processors to everybody else: for a process that nobody waits for (decision 24).

    Call it before there is any thread: niceness is a thread's on Linux, and passed on to those that
    it starts, and to children. Between sessions it counts for nothing, because each has an equal
    share of its own (sched(7), autogroup); so a process that leads a session, as a service does,
    lowers the share. Where a sandbox forbids it, everything works, and others wait.
    """
    try:
        os.nice(NICENESS)
        if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
            AUTOGROUP.write_text(str(NICENESS))
    except OSError as error:
        log.debug("priority.refused", error=str(error))
