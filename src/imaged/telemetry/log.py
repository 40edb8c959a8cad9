"""Configures the log of this process: level, format and processing steps."""

from __future__ import annotations

import atexit
import logging
import sys
from typing import TYPE_CHECKING, TextIO

import structlog

from imaged.telemetry.log_format import LogFormat, choose_format, final_processors
from imaged.telemetry.rate_limit import RateLimiter
from imaged.telemetry.redact import redact_secrets
from imaged.telemetry.stdlib_bridge import capture_library_logs

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

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
