"""The log: one event per line, ``timestamp``, ``level`` and ``event`` first, then its facts.

Coloured on a terminal, JSON otherwise. Events are listed in ``docs/reference/events.md``. What
libraries have to say comes through the same door as ``library.reported``, from WARNING upwards.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

log = structlog.get_logger()

Format = Literal["auto", "console", "json"]

FIRST = ("timestamp", "level", "event")
LONGEST_TEXT = 4_000  # characters of one field
TRACEBACKS = frozenset({"exception"})

_SECRET = re.compile(r"(^|_)(token|secret|password|passwd|credential|authorization|access_key)s?$")
_CONTROL = {
    code: f"\\u{code:04x}"
    for codes in (
        range(0x20),
        range(0x7F, 0xA0),
        range(0x200B, 0x2010),  # zero width and direction marks
        range(0x2028, 0x202F),  # line separators and direction overrides
        range(0x2066, 0x206A),  # direction isolates
    )
    for code in codes
}


def configure_log(level: str, output_format: Format = "auto", output: TextIO | None = None) -> None:
    """Set up the log of this process. Calling it again changes the level of what comes next."""
    output = output or sys.stderr
    if output_format == "auto":
        output_format = "console" if output.isatty() else "json"
    threshold = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*before, *_rendering(output_format, colors=output.isatty())],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,  # a reload may change the level
    )
    _listen_to_libraries(max(threshold, logging.WARNING))


def _rendering(output_format: Format, *, colors: bool) -> list[Processor]:
    if output_format == "console":
        show = structlog.dev.plain_traceback  # others show local variables, and so secrets
        renderer = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=24, exception_formatter=show
        )
        return [mask_secrets, escape_control, renderer]
    return [
        structlog.processors.format_exc_info,
        mask_secrets,
        shorten,
        put_first,
        structlog.processors.JSONRenderer(default=str),
    ]


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop the values of fields that are named like secrets, should one ever come here."""
    return {key: "***" if _SECRET.search(key.lower()) else value for key, value in event.items()}


def escape_control(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Make visible what a terminal would obey. JSON does this by itself."""
    return {
        key: value.translate(_CONTROL) if isinstance(value, str) else value
        for key, value in event.items()
    }


def shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut texts that are too long for a line."""
    return {key: value if key in TRACEBACKS else _cut(value) for key, value in event.items()}


def put_first(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Begin with what everybody looks for."""
    return {key: event[key] for key in FIRST if key in event} | dict(event)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}…"
    return value


class LibraryHandler(logging.Handler):
    """Hands what libraries log to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, as it comes."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's mistake in a text ends nothing
            message = str(record.msg)
        facts = {"library": record.name, "message": message, "exc_info": record.exc_info}
        if record.levelno >= logging.ERROR:
            log.error("library.reported", **facts)
        else:
            log.warning("library.reported", **facts)


def _listen_to_libraries(threshold: int) -> None:
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers = [LibraryHandler()]
    root.setLevel(threshold)
