"""Passes log records of libraries, from WARNING upwards, to our log."""

from __future__ import annotations

import logging

import structlog

log = structlog.get_logger()

#: Messages that imaged logs itself: the logger, and the text before its arguments.
DUPLICATE_MESSAGES = {
    ("uvicorn.error", "ASGI callable returned without completing response."),  # answer.broken_off
}


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
