"""Checks of the machine: the clock, and the limit of open files."""

from __future__ import annotations

import ctypes
import resource
import time
from dataclasses import dataclass
from datetime import timedelta

from imaged.cli.doctor.finding import Finding, ok, warning

MIN_OPEN_FILES = 4096  # a connection and a file for each of 1,000 transfers, and as many idle ones
MAX_CLOCK_JUMP = timedelta(milliseconds=500)
TIME_ERROR = 5  # <sys/timex.h>: TIME_ERROR
TIMEX_BYTES = 512  # struct timex has about 200; 0 in its first field sets nothing


@dataclass(frozen=True, slots=True)
class ClockSample:
    """The time by the wall clock and by the monotonic clock."""

    wall: float
    steady: float

    @classmethod
    def now(cls) -> ClockSample:
        """Read both clocks."""
        return cls(time.time(), time.monotonic())


def check_clock_jump(began: ClockSample, ended: ClockSample) -> Finding:
    """Check whether the clock was set in between."""
    jump = timedelta(seconds=(ended.wall - began.wall) - (ended.steady - began.steady))
    if abs(jump) > MAX_CLOCK_JUMP:
        return warning(
            "clock",
            f"It was set by {jump.total_seconds():+.1f} s during this check.",
            "Use a time service that slews the clock, such as chrony.",
        )
    return ok("clock", "It runs evenly.")


def check_time_synchronization(state: int | None = None) -> Finding:
    """Check the kernel's state of the clock: adjtimex(2)."""
    known = adjtimex_state() if state is None else state
    if known == TIME_ERROR:
        return warning(
            "clock",
            "The kernel says that no time service keeps it.",
            "Install chrony or systemd-timesyncd; in a container, on the host.",
        )
    return ok(
        "clock",
        "A time service keeps it."
        if known >= 0
        else "It is unknown whether a time service keeps it.",
    )


def adjtimex_state() -> int:
    """The state of the clock; negative if the kernel does not say."""
    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))


def check_open_files(limits: tuple[int, int] | None = None) -> Finding:
    """Check the limit of this process; a service gets its own from its unit."""
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "any number of" if hard == resource.RLIM_INFINITY else str(hard)
    what = f"{soft} files may be open, and {shown} at most (here; a unit has LimitNOFILE)."
    if hard != resource.RLIM_INFINITY and hard < MIN_OPEN_FILES:
        return warning(
            "open files", what, f"Allow {MIN_OPEN_FILES} at least: ulimit -n, or LimitNOFILE."
        )
    return ok("open files", what)
