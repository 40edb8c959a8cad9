"""Output of commands: JSON, text tables, and errors in the same form for all commands.

A failed start of a service is told to systemd or the journal too, with an exit code of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged import DEFAULT_CONFIG_FILE
from imaged.cli import EXIT_MISCONFIGURED, EXIT_PROBLEMS

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_COMMAND_AT_END = re.compile(r"(.*:) (imaged .*)")
F = TypeVar("F", bound=Callable[..., Any])

RUN_DOCTOR = "`imaged doctor` checks everything that a daemon needs, and says what to do."
NAME_CONFIG = f"There is no {DEFAULT_CONFIG_FILE}: name your daemon's configuration by --config."
RUN_CHECK_CONFIG = "`imaged check-config` reports all mistakes in it."


def print_json(facts: object, *, to_stderr: bool = False) -> None:
    """Print facts as JSON."""
    click.echo(json.dumps(facts, indent=2), err=to_stderr)


def moment(at: datetime | None) -> str | None:
    """The instant for JSON, in milliseconds."""
    return None if at is None else at.isoformat(timespec="milliseconds")


def local_time(at: datetime) -> str:
    """The instant for people: local time with its zone, in minutes."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M %Z")


def print_sentence(sentence: str, *, err: bool = False, indent: int = 0) -> None:
    """Print a sentence. A terminal gets whole words on each line, and a command at its end on a
    line of its own, so that it can be copied. ``indent``: of the lines after the first one.
    """
    from imaged.cli.tables import hanging

    if not (sys.stderr if err else sys.stdout).isatty():
        click.echo(sentence, err=err)
        return
    width = shutil.get_terminal_size().columns
    with_command = _COMMAND_AT_END.fullmatch(sentence)
    text = with_command[1] if with_command else sentence
    click.echo(hanging(text, width, indent), err=err)
    if with_command:
        click.echo(with_command[2], err=err)


@dataclass(frozen=True, slots=True)
class FittingLines:
    """What fits on the terminal, with a last line that says how much more there is."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render at most as many lines as the terminal has."""
        from rich.segment import Segment
        from rich.text import Text

        lines = console.render_lines(self.content, options.update(height=None), pad=False)
        shown = lines if len(lines) <= console.height else lines[: console.height - 1]
        for number, line in enumerate(shown):
            yield from [Segment.line()] if number else []
            yield from line
        if len(shown) < len(lines):
            yield Segment.line()
            yield Text(
                f"{len(lines) - len(shown)} more lines: enlarge the terminal.", "dim", end=""
            )


def printable(text: str) -> str:
    """The text without control characters: users choose names, and terminals obey those."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line has --json, also if the rest of it is invalid."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def is_expected_error(error: Exception) -> bool:
    """Whether the error is meant for users; any other is a bug."""
    from imaged.core.errors import ImagedError

    if isinstance(error, (click.ClickException, ImagedError)):
        return True
    from imaged.config.problems import ConfigInvalid

    return isinstance(error, ConfigInvalid)


def error_json(error: Exception) -> dict[str, Any]:
    """``error``, ``remedy`` (or None), and ``image_id`` if an image waits for data."""
    facts: dict[str, Any] = {"error": _message_of(error), "remedy": _remedy_for(error)}
    image_id = getattr(error, "unfinished_image_id", None)
    return facts if image_id is None else {**facts, "image_id": image_id}


def print_error(error: Exception, *, as_json: bool) -> None:
    """Print the error: text on standard error, JSON on standard output."""
    if as_json:
        print_json(error_json(error))
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        for line in _message_of(error).splitlines():  # of a configuration, one for each mistake
            print_failure(line)
        if remedy := _remedy_for(error):
            print_sentence(remedy, err=True)


def print_failure(sentence: str) -> None:
    """Print a sentence on standard error, with the prefix that click's own errors have."""
    print_sentence(f"Error: {sentence}", err=True)


def _message_of(error: Exception) -> str:
    return error.format_message() if isinstance(error, click.ClickException) else str(error)


def _remedy_for(error: Exception) -> str | None:
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx is not None else "imaged"
        return f"See `{where} --help`."
    from imaged.client.errors import ClientError
    from imaged.config.problems import ConfigInvalid
    from imaged.core.errors import CatalogError, CatalogExists, CatalogInUse, StoreError

    match error:
        case ConfigInvalid():
            is_of_settings = any(problem.key for problem in error.problems)
            return RUN_CHECK_CONFIG if is_of_settings else None
        case CatalogExists() | CatalogInUse():
            return None  # the error says it
        case CatalogError() | StoreError():
            return f"{NAME_CONFIG} {RUN_DOCTOR}" if _reads_no_file(sys.argv[1:]) else RUN_DOCTOR
        case ClientError():
            return error.remedy or None
        case _:  # remedies of other errors are for users of the API
            return None


def _reads_no_file(arguments: Sequence[str]) -> bool:
    """Whether no configuration is named, and the default one is missing."""
    is_named = any(word.startswith("--config") for word in arguments)
    return not is_named and not DEFAULT_CONFIG_FILE.exists()


def tells_failed_start(command: F) -> F:
    """Make the command of a service exit 78 if its configuration must be corrected first, and 1 if
    a retry may succeed. If systemd connected standard error to the journal, each reason is an event
    there.
    """

    @wraps(command)
    def run(*arguments: Any, as_json: bool, **options: Any) -> Any:
        from imaged.lean_imports import lean_imports

        with lean_imports():
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
    from imaged.telemetry.log import is_journal

    if not is_journal(sys.stderr):
        return False
    import structlog

    from imaged.telemetry import configure_log

    configure_log("info", "journal")
    log = structlog.get_logger()
    for why in reasons(error):
        log.error("daemon.start_failed", why=why, exit_code=code)
    return True
