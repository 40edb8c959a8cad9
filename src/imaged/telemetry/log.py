"""Configures the log of this process: level, processing steps, and the format of what is written.

Records of libraries, from WARNING upwards, become events too. The formats are coloured lines for
people, JSON for programs, and fields for the systemd journal.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
from io import StringIO
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

from imaged.telemetry.console import ConsoleFormat
from imaged.telemetry.journald import journal_fields, priority, send_to_journal
from imaged.telemetry.rate_limit import RateLimiter
from imaged.telemetry.sanitize import escape, redact_secrets, shorten

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "console", "json", "journal"]

FIRST_FIELDS = ("timestamp", "level", "event")

log = structlog.get_logger()

#: Messages that imaged logs itself: the logger, and the text before its arguments.
DUPLICATE_MESSAGES = {
    ("uvicorn.error", "ASGI callable returned without completing response."),  # answer.broken_off
}

_rate_limiter = RateLimiter()


def configure_log(
    level: str, output_format: LogFormat = "auto", output: TextIO | None = None
) -> None:
    """Configure the log of this process. Another call changes the level of later events."""
    global _rate_limiter  # noqa: PLW0603 - one log per process
    _rate_limiter.flush()
    _rate_limiter = RateLimiter()
    output = output or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        drop_empty_fields,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _rate_limiter,
        structlog.processors.ExceptionRenderer(),  # without local variables, which may hold secrets
        redact_secrets,
    ]
    structlog.configure(
        processors=[*before, *final_processors(choose_format(output_format, output), output)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,  # a reload may change the level
    )
    capture_library_logs(max(threshold, logging.WARNING))


def log_to_journal_only(level: str) -> None:
    """Log to systemd's journal, if there is one, and otherwise nowhere."""
    configure_log(level, "journal", StringIO())  # which gets what the journal does not accept


def discard_log() -> None:
    """Discard all events of this process, and the records of libraries."""
    structlog.configure(
        processors=[_discard],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(capture=True)
    logging.getLogger().handlers = [logging.NullHandler()]


def _discard(_logger: WrappedLogger, _method: str, _event: EventDict) -> EventDict:
    raise structlog.DropEvent


def drop_empty_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop fields that are None, so that a call can name all its possible fields."""
    return {name: value for name, value in event.items() if value is not None}


@atexit.register
def _flush_at_exit() -> None:
    _rate_limiter.flush()


class StdlibLogHandler(logging.Handler):
    """Logs the records of libraries as ``library.reported``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record."""
        if (record.name, record.msg) in DUPLICATE_MESSAGES:
            return
        name, said, raised = record.name, _message_of(record), record.exc_info
        if record.levelno >= logging.ERROR:
            log.error("library.reported", library=name, said=said, exc_info=raised)
        else:
            log.warning("library.reported", library=name, said=said, exc_info=raised)


def capture_library_logs(threshold: int) -> None:
    """Make StdlibLogHandler the only handler of the root logger."""
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers = [StdlibLogHandler()]
    root.setLevel(threshold)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's wrong format must not raise here
        return str(record.msg)


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
        return [shorten, escape, ConsoleFormat(colors=output.isatty())]
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
