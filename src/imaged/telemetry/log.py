"""The log of this process: which lines are written, in which format, and through which steps."""

from __future__ import annotations

import atexit
import logging
import sys
from typing import TYPE_CHECKING, TextIO

import structlog

from imaged.telemetry.formats import Format, choose, ending
from imaged.telemetry.libraries import listen_to_libraries
from imaged.telemetry.repeats import Repeats
from imaged.telemetry.secrets import mask_secrets

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_repeats = Repeats()


def configure_log(level: str, output_format: Format = "auto", output: TextIO | None = None) -> None:
    """Set up the log of this process. Calling it again changes the level of what comes next."""
    global _repeats  # noqa: PLW0603 - the log of a process is one
    _repeats.tell()
    _repeats = Repeats()
    output = output or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        drop_unknown,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _repeats,
        structlog.processors.ExceptionRenderer(),  # without local variables: they may be secrets
        mask_secrets,
    ]
    structlog.configure(
        processors=[*before, *ending(choose(output_format, output), output)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,  # a reload may change the level
    )
    listen_to_libraries(max(threshold, logging.WARNING))


def drop_unknown(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A field without a value is none: so each call can name all the fields that it may have."""
    return {name: value for name, value in event.items() if value is not None}


@atexit.register
def _tell_last_counts() -> None:
    _repeats.tell()
