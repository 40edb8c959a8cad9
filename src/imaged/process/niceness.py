"""CPU priority of background processes."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

LOWER_NICENESS = 5  # a third of the CPU share of niceness 0 under contention
LOWEST_NICENESS = 19  # the lowest that Linux has
AUTOGROUP = Path("/proc/self/autogroup")

log = structlog.get_logger()


def lower_priority() -> None:
    """Lower the priority of a worker below its daemon, and leave one processor free for others, so
    that they need not wait for a preemption (decision 24).

    Call it before any thread starts, like ``lowest_priority``. The niceness is not the lowest: a
    worker shares its control group or session with other processes, and would starve beside one
    that never sleeps.
    """
    try:
        os.nice(LOWER_NICENESS)
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[1:] or processors)
    except OSError as error:
        log.debug("priority.refused", error=str(error))


def lowest_priority() -> None:
    """Give this process the lowest CPU priority, as no client waits for it (decision 24).

    Call it before any thread starts: on Linux, niceness is per thread, and inherited by new
    threads and children. Between sessions niceness has no effect, because each session has an
    equal share (sched(7), autogroup); so a session leader, such as a service, lowers the share of
    its session. If a sandbox forbids it, the process runs at normal priority.
    """
    try:
        os.nice(LOWEST_NICENESS)
        if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
            AUTOGROUP.write_text(str(LOWEST_NICENESS))
    except OSError as error:
        log.debug("priority.refused", error=str(error))
