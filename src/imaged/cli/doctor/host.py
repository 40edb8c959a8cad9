"""The machine: its clock, and how many files a process may open."""

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
TIMEX_BYTES = 512  # struct timex has about 200; its first field, 0, asks for nothing to be set


@dataclass(frozen=True, slots=True)
class ClockSample:
    """The same moment by two clocks; one of them is never set."""

    wall: float
    steady: float

    @classmethod
    def now(cls) -> ClockSample:
        """Read both."""
        return cls(time.time(), time.monotonic())


def check_clock_jump(began: ClockSample, ended: ClockSample) -> Finding:
    """Whether somebody set the clock in between."""
    jump = timedelta(seconds=(ended.wall - began.wall) - (ended.steady - began.steady))
    if abs(jump) > MAX_CLOCK_JUMP:
        return warning(
            "clock",
            f"It was set by {jump.total_seconds():+.1f} s while this looked at it.",
            "Use a time service that slews the clock, such as chrony.",
        )
    return ok("clock", "It goes evenly.")


def check_time_synchronization(state: int | None = None) -> Finding:
    """What the kernel knows of it: adjtimex(2)."""
    known = adjtimex_state() if state is None else state
    if known == TIME_ERROR:
        return warning(
            "clock",
            "The kernel says that no time service keeps it.",
            "Install chrony or systemd-timesyncd; in a container, see to the host's.",
        )
    return ok("clock", "A time service keeps it." if known >= 0 else "Nobody tells who keeps it.")


def adjtimex_state() -> int:
    """The state of the clock; negative where the kernel does not say."""
    return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))


def check_open_files(limits: tuple[int, int] | None = None) -> Finding:
    """The limit of this process, which a service has from its unit."""
    soft, hard = limits or resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "any number of" if hard == resource.RLIM_INFINITY else str(hard)
    what = f"{soft} files may be open, and {shown} at most (here; a unit has LimitNOFILE)."
    if hard != resource.RLIM_INFINITY and hard < MIN_OPEN_FILES:
        return warning(
            "open files", what, f"Allow {MIN_OPEN_FILES} at least: ulimit -n, or LimitNOFILE."
        )
    return ok("open files", what)
