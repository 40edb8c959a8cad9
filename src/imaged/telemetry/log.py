"""The log of this process: which lines are written, in which format, and through which steps."""

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
    """Set up the log of this process. Calling it again changes the level of what comes next."""
    global _rate_limiter  # noqa: PLW0603 - the log of a process is one
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
        structlog.processors.ExceptionRenderer(),  # without local variables: they may be secrets
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
    """A field without a value is none: so each call can name all the fields that it may have."""
    return {name: value for name, value in event.items() if value is not None}


@atexit.register
def _flush_at_exit() -> None:
    _rate_limiter.flush()
