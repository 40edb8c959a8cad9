"""The process and its machine: CPU priority, memory allocator, uptime."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import structlog

from imaged.core.limits import MIB

LOWER_NICENESS = 5  # a third of the CPU share of niceness 0 under contention
LOWEST_NICENESS = 19  # the lowest that Linux has
AUTOGROUP = Path("/proc/self/autogroup")
THREADS = Path("/proc/self/task")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # inside a container, that of its control group
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SYSFS = Path("/sys")

SWITCH_SECONDS = 0.0005

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

log = structlog.get_logger()


def lower_priority() -> None:
    """Lower the priority of a worker below its daemon, and leave one processor free for others, so
    that they need not wait for a preemption (decision 24).

    Call it before any thread starts. The niceness is not the lowest: a worker shares its control
    group or session with other processes, and would starve beside one that never sleeps.
    """
    try:
        os.nice(LOWER_NICENESS)
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, processors[1:] or processors)
    except OSError as error:
        log.debug("priority.refused", error=str(error))


def lowest_priority() -> None:
    """Give this process the lowest CPU priority, as no client waits for it (decision 24).

    Call it when the start is done, which would take minutes beside processes that never rest. On
    Linux niceness is per thread, and inherited by new threads and children: every thread gets it.
    Between sessions niceness has no effect, because each session has an equal share (sched(7),
    autogroup); so a session leader, such as a service, lowers the share of its session. If a
    sandbox forbids it, the process runs at normal priority.
    """
    try:
        for thread in sorted(int(entry.name) for entry in THREADS.iterdir()):
            with suppress(ProcessLookupError):  # it has ended
                os.setpriority(os.PRIO_PROCESS, thread, LOWEST_NICENESS)
        if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
            AUTOGROUP.write_text(str(LOWEST_NICENESS))
    except OSError as error:
        log.debug("priority.refused", error=str(error))


def hand_over_quickly() -> None:
    """Let a thread that computes give up the interpreter after half a millisecond, if another one
    waits for it: the event loop wakes up for each request, while uploads are hashed and written.

    Python's own 5 ms (``sys.setswitchinterval``) were most of what a record waited for. Processes
    that are forked inherit it.
    """
    sys.setswitchinterval(SWITCH_SECONDS)


def tune_malloc() -> None:
    """Make glibc reuse the memory of large chunks. By default it maps and unmaps each chunk of a
    body, which costs more than receiving it.

    Call it once, before the first transfer; a no-op without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 * MIB)
    libc.mallopt(_M_TRIM_THRESHOLD, 256 * MIB)


def usable_processors() -> int:
    """How many processors this process may use: those it may run on, or fewer if its control group
    may only have the time of fewer. At least 1.
    """
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_QUOTA.read_text().split()
    except (OSError, ValueError):  # no control group of its own, or the first version of them
        return allowed
    if not quota.isdecimal():  # "max"
        return allowed
    return max(1, min(allowed, round(int(quota) / int(period))))


def read_uptime() -> tuple[str, timedelta]:
    """Return the boot id and the time since boot, including suspensions (CLOCK_BOOTTIME).

    If a sandbox hides the boot id (ProcSubset=pid in our units), the time at which the kernel made
    /sys replaces it: it differs after each boot.
    """
    try:
        boot_id = BOOT_ID.read_text().strip()
    except OSError:
        boot_id = str(SYSFS.stat().st_ctime_ns)
    return boot_id, timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
