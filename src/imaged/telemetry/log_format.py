"""Output formats: coloured lines for people, JSON for programs, fields for the systemd journal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

from imaged.telemetry.journald import journal_fields, priority, send_to_journal
from imaged.telemetry.sanitize import escape, shorten

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "console", "json", "journal"]

FIRST_FIELDS = ("timestamp", "level", "event")


def choose_format(wanted: LogFormat, output: TextIO) -> LogFormat:
    """Resolve "auto": journal if the output is connected to it, console on a terminal, or json."""
    if wanted != "auto":
        return wanted
    if is_journal(output):
        return "journal"
    return "console" if output.isatty() else "json"


def is_journal(output: TextIO) -> bool:
    """Whether systemd connected the output to its journal: systemd.exec(5), JOURNAL_STREAM."""
    try:
        place = os.fstat(output.fileno())
    except (OSError, ValueError):  # closed, or not a file
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{place.st_dev}:{place.st_ino}"


def final_processors(chosen: LogFormat, output: TextIO) -> list[Processor]:
    """Return the last processors, which turn an event into the written line."""
    if chosen == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=output.isatty(), pad_event_to=24)
        return [shorten, escape, renderer]
    if chosen == "journal":
        last = to_json_with_priority if is_journal(output) else to_json
        return [shorten, to_journal, put_first, last]
    return [shorten, put_first, to_json]


def put_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the most important fields first."""
    return {key: event[key] for key in FIRST_FIELDS if key in event} | dict(event)


def to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return a JSON object on one line, in ASCII."""
    return json.dumps(event)


def to_json_with_priority(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Return the same behind the level as the journal reads it in a line: ``<3>``, sd-daemon(3)."""
    return f"<{priority(event)}>{to_json(logger, method, event)}"


def to_journal(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Send the event to the journal and drop it; return it if the journal did not accept it."""
    if send_to_journal(journal_fields(escape(logger, method, event))):
        raise structlog.DropEvent
    return event
