"""Output of commands: JSON, text tables, and errors in the same form for all commands.

A failed start of a service is told to systemd or the journal too, with an exit code of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged.cli import EXIT_MISCONFIGURED, EXIT_PROBLEMS
from imaged.core.attributes import UUID_PATTERN

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])

_ID = re.compile(UUID_PATTERN)
ID_WIDTH = 36  # characters
CELL_MIN_WIDTH = 4  # characters, with the space beside it
PIPED_WIDTH = 250  # without a terminal nothing is cut
RUN_DOCTOR = "`imaged doctor` checks everything that a daemon needs, and says what to do."
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


@dataclass(frozen=True, slots=True)
class TextTable:
    """A title with a table below; without rows only the title is printed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | RenderableType]]

    def draw(self, width: int | None = None) -> Table:
        """The rows as a table of rich. In a narrow terminal texts are folded, but not ids, which
        people copy; of several columns of ids, those that fit. ``width``: in characters; by default
        the terminal's.
        """
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD)
        ids = [
            number
            for number in range(len(self.columns))
            if any(_is_id(row[number]) for row in self.rows)
        ]
        width = width or shutil.get_terminal_size().columns
        whole = ids[: max(1, (width - CELL_MIN_WIDTH * len(self.columns)) // ID_WIDTH)]
        for number, name in enumerate(self.columns):
            table.add_column(name, no_wrap=number in whole)
        for row in self.rows:
            table.add_row(
                *(
                    Text(printable(cell), overflow="fold") if isinstance(cell, str) else cell
                    for cell in row
                )
            )
        return table

    def print(self) -> None:
        """Print title and table; nothing is cut without a terminal."""
        click.echo(self.title)
        if not self.rows:
            return
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            console.width = PIPED_WIDTH
        console.print(self.draw(console.width))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a title and a table."""
    TextTable(title, columns, list(rows)).print()


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


def _is_id(cell: str | RenderableType) -> bool:
    return isinstance(cell, str) and _ID.fullmatch(cell) is not None


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
            click.echo(remedy, err=True)


def print_failure(sentence: str) -> None:
    """Print a sentence on standard error, with the prefix that click's own errors have."""
    click.echo(f"Error: {sentence}", err=True)


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
            return RUN_CHECK_CONFIG
        case CatalogExists() | CatalogInUse():
            return None  # the error says it
        case CatalogError() | StoreError():
            return RUN_DOCTOR
        case ClientError():
            return error.remedy or None
        case _:  # remedies of other errors are for users of the API
            return None


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
