"""Configures the log of this process: level, format and processing steps.

Records of libraries, from WARNING upwards, become events too.
"""

from __future__ import annotations

import atexit
import logging
import sys
from typing import TYPE_CHECKING, TextIO

import structlog

from imaged.telemetry.log_format import LogFormat, choose_format, final_processors
from imaged.telemetry.rate_limit import RateLimiter
from imaged.telemetry.sanitize import redact_secrets

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger


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
