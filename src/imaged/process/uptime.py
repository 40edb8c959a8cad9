"""The machine that this process runs on: which boot it is, and for how long it has been up."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SYSFS = Path("/sys")


def read_uptime() -> tuple[str, timedelta]:
    """The name of this boot, and the time since then, that of suspensions included.

    Where a sandbox hides the name (ProcSubset=pid in our units), the moment at which the system
    made /sys takes its place: it is another one after each boot. See clock_gettime(2),
    CLOCK_BOOTTIME.
    """
    try:
        boot_id = BOOT_ID.read_text().strip()
    except OSError:
        boot_id = str(SYSFS.stat().st_ctime_ns)
    return boot_id, timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
