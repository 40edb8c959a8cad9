"""A start that failed: told to systemd, the journal or a terminal, with an exit code of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from imaged.cli import EXIT_MISCONFIGURED, EXIT_PROBLEMS
from imaged.cli.output import print_error

F = TypeVar("F", bound=Callable[..., Any])


def tells_failed_start(command: F) -> F:
    """Make the command of a service exit 78 if its configuration must be corrected first, and 1 if
    a retry may succeed. If systemd connected standard error to the journal, each reason is an event
    there.
    """

    @wraps(command)
    def run(*arguments: Any, as_json: bool, **options: Any) -> Any:
        from imaged.config import ConfigInvalid
        from imaged.core.errors import ImagedError

        try:
            return command(*arguments, as_json=as_json, **options)
        except (ConfigInvalid, ImagedError) as error:
            code = EXIT_MISCONFIGURED if error.needs_correction else EXIT_PROBLEMS
            if not _log_in_journal(error, code):
                print_error(error, as_json=as_json)
            return code

    return run  # type: ignore[return-value]  # the arguments are those of the command


def status_of(error: Exception) -> str:
    """The status line for systemd: the first reason, and how many there are."""
    first, *others = reasons(error)
    more = f" (and {len(others)} more)" if others else ""
    return f"not started: {first}{more}"


def reasons(error: Exception) -> Sequence[str]:
    """Each reason, on one line."""
    return [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


def _log_in_journal(error: Exception, code: int) -> bool:
    """Log each reason, if standard error is connected to the journal."""
    from imaged.telemetry.log_format import is_journal

    if not is_journal(sys.stderr):
        return False
    import structlog

    from imaged.telemetry import configure_log

    configure_log("info", "journal")
    log = structlog.get_logger()
    for why in reasons(error):
        log.error("daemon.start_failed", why=why, exit_code=code)
    return True
