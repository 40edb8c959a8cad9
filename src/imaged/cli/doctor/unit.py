"""Checks of systemd's unit against the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from imaged.cli.doctor.finding import Finding, ok, warning
from imaged.config import Config
from imaged.config.stores import FilesystemSection
from imaged.units import format_duration, parse_duration

UNIT_NAME = "imaged.service"
UNIT_FOLDERS = tuple(
    Path(folder)
    for folder in ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
)
STATE_FOLDER = Path("/var/lib")
TIME_UNITS: Mapping[str, str] = {"min": "m", "sec": "s", "s": "s", "h": "h", "hr": "h", "": "s"}

Directives = Mapping[str, Sequence[str]]


def check_unit(config: Config, folders: Iterable[Path] = UNIT_FOLDERS) -> Iterator[Finding]:
    """Check that the service may write into its stores, and has time to drain."""
    unit = next((folder / UNIT_NAME for folder in folders if (folder / UNIT_NAME).is_file()), None)
    if unit is None:
        yield ok("unit", f"{UNIT_NAME} is not installed; `make install-system` does it.")
        return
    directives = read_unit([unit, *sorted(unit.with_name(f"{UNIT_NAME}.d").glob("*.conf"))])
    yield ok("unit", f"{unit} is installed.")
    yield from _check_write_paths(config, directives)
    yield from _check_stop_timeout(config, directives)


def read_unit(files: Iterable[Path]) -> dict[str, list[str]]:
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
