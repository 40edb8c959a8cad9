"""What libraries have to say: it comes through the same door, from WARNING upwards."""

from __future__ import annotations

import logging

import structlog

log = structlog.get_logger()

#: What we tell ourselves, and better: logger, and the text before its arguments.
DUPLICATE_MESSAGES = {
    ("uvicorn.error", "ASGI callable returned without completing response."),  # answer.broken_off
}


class StdlibLogHandler(logging.Handler):
    """Hands what libraries log to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, as it comes."""
        if (record.name, record.msg) in DUPLICATE_MESSAGES:
            return
        name, said, raised = record.name, _message_of(record), record.exc_info
        if record.levelno >= logging.ERROR:
            log.error("library.reported", library=name, said=said, exc_info=raised)
        else:
            log.warning("library.reported", library=name, said=said, exc_info=raised)


def capture_library_logs(threshold: int) -> None:
    """Be the only one who does."""
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers = [StdlibLogHandler()]
    root.setLevel(threshold)


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's mistake in a text ends nothing
        return str(record.msg)
