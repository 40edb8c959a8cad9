"""Checks of the machine: clock, limit of open files, and systemd's unit."""

from __future__ import annotations

import ctypes
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from imaged.cli.doctor import Finding, ok, warning
from imaged.config import Config
from imaged.config.stores import FilesystemSection
from imaged.units import format_duration, parse_duration

MIN_OPEN_FILES = 4096  # a connection and a file for each of 1,000 transfers, and as many idle ones
MAX_CLOCK_JUMP = timedelta(milliseconds=500)
TIME_ERROR = 5  # <sys/timex.h>: TIME_ERROR
TIMEX_BYTES = 512  # struct timex has about 200; 0 in its first field sets nothing

UNIT_NAME = "imaged.service"
UNIT_FOLDERS = tuple(
    Path(folder)
    for folder in ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
)
STATE_FOLDER = Path("/var/lib")
TIME_UNITS: Mapping[str, str] = {"min": "m", "sec": "s", "s": "s", "h": "h", "hr": "h", "": "s"}

Directives = Mapping[str, Sequence[str]]


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
    known = _adjtimex_state() if state is None else state
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


def _adjtimex_state() -> int:
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


def check_unit(config: Config, folders: Iterable[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Check that the service may write into its stores, and has time to drain."""
    unit = next((folder / UNIT_NAME for folder in folders if (folder / UNIT_NAME).is_file()), None)
    if unit is None:
        yield ok("unit", f"{UNIT_NAME} is not installed; `make install-system` does it.")
        return
    directives = _read_unit([unit, *sorted(unit.with_name(f"{UNIT_NAME}.d").glob("*.conf"))])
    yield ok("unit", f"{unit} is installed.")
    yield from _check_write_paths(config, directives)
    yield from _check_stop_timeout(config, directives)


def _read_unit(files: Iterable[Path]) -> dict[str, list[str]]:
    """The values in all files; an empty value clears the earlier ones, as in systemd."""
    directives: dict[str, list[str]] = {}
    for file in files:
        for line in file.read_text("utf-8", "replace").splitlines():
            name, equals, value = line.partition("=")
            if not equals or name.startswith(("#", ";")):
                continue
            values = directives.setdefault(name.strip(), [])
            if value.strip():
                values.append(value.strip())
            else:
                values.clear()
    return directives


def _check_write_paths(config: Config, directives: Directives) -> Iterator[Finding]:
    if directives.get("ProtectSystem", [""])[-1] != "strict":
        return
    words = " ".join(directives.get("ReadWritePaths", [])).split()
    writable = [Path(word.lstrip("-+")) for word in words]
    writable += [
        STATE_FOLDER / name for name in " ".join(directives.get("StateDirectory", [])).split()
    ]
    for name, store in config.stores.by_name.items():
        if not isinstance(store, FilesystemSection):
            continue
        if any(store.path.is_relative_to(path) for path in writable):
            yield ok("unit", f"It may write into {store.path}.")
        else:
            yield warning(
                "unit",
                f"It may not write into {store.path}, where the store {name} is.",
                f"systemctl edit imaged: [Service], ReadWritePaths={store.path}",
            )


def _check_stop_timeout(config: Config, directives: Directives) -> Iterator[Finding]:
    if directives.get("Type", [""])[-1].startswith("notify"):
        return  # a drain asks for more time, as long as it needs it
    patience = read_time_span(directives.get("TimeoutStopSec", ["90s"])[-1])
    drain = config.daemon.drain_timeout
    if patience is not None and patience <= drain:
        yield warning(
            "unit",
            f"TimeoutStopSec is {format_duration(patience)}, and not longer than "
            f"daemon.drain_timeout, which is {format_duration(drain)}.",
            "systemctl edit imaged: [Service], a longer TimeoutStopSec.",
        )


def read_time_span(text: str) -> timedelta | None:
    """A time span of systemd.time(7) such as "6min", "1h 30min", "90"; None for other forms."""
    total = timedelta(0)
    for part in text.split():
        number = part.rstrip("abcdefghijklmnopqrstuvwxyz")
        unit = TIME_UNITS.get(part[len(number) :])
        if unit is None or not number.isdigit():
            return None
        total += parse_duration(f"{number}{unit}")
    return total
