"""How a line looks: coloured for people, JSON for programs, fields for the journal of systemd."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

from imaged.telemetry.journald import journal_fields, send
from imaged.telemetry.sanitize import escape, shorten

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "console", "json", "journal"]

FIRST_FIELDS = ("timestamp", "level", "event")


def choose_format(wanted: LogFormat, output: TextIO) -> LogFormat:
    """What "auto" means here: the journal where systemd reads along, colours on a terminal."""
    if wanted != "auto":
        return wanted
    if is_journal(output):
        return "journal"
    return "console" if output.isatty() else "json"


def is_journal(output: TextIO) -> bool:
    """Whether systemd connected this output with its journal: systemd.exec(5), JOURNAL_STREAM."""
    try:
        place = os.fstat(output.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{place.st_dev}:{place.st_ino}"


def final_processors(chosen: LogFormat, output: TextIO) -> list[Processor]:
    """The last steps: from an event and its facts to what is written."""
    if chosen == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=output.isatty(), pad_event_to=24)
        return [shorten, escape, renderer]
    if chosen == "journal":
        return [shorten, to_journal, put_first, to_json]
    return [shorten, put_first, to_json]


def put_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Begin with what everybody looks for."""
    return {key: event[key] for key in FIRST_FIELDS if key in event} | dict(event)


def to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """One object on one line: whatever is not ASCII is escaped."""
    return json.dumps(event)


def to_journal(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Hand it to the journal, and end its way here; what is not taken passes on."""
    if send(journal_fields(escape(logger, method, event))):
        raise structlog.DropEvent
    return event
