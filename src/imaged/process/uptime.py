"""The boot id and the uptime of this machine."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SYSFS = Path("/sys")


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
