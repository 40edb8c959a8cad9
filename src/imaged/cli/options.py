"""Options of several commands, and their confirmation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged import DEFAULT_CONFIG_FILE

if TYPE_CHECKING:
    from imaged.telemetry.log import LogFormat

F = TypeVar("F", bound=Callable[..., Any])

VERBOSE = "imaged.verbose"  # of click's meta
FILE_TYPE = click.Path(dir_okay=False, path_type=Path)


def config_option(command: F) -> F:
    """``--config FILE``."""
    text = f"The configuration; default: {DEFAULT_CONFIG_FILE}."
    return click.option("--config", "file", metavar="FILE", type=FILE_TYPE, help=text)(command)


def verbose_option(command: F) -> F:
    """``--verbose``, which ``configure_command_log`` reads."""
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_remember_verbose,
        help="Print the log of what it does, too.",
    )(command)


def _remember_verbose(context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    context.meta[VERBOSE] = value


def configure_command_log(
    level: str = "info", output_format: LogFormat = "auto", *, is_change: bool = False
) -> None:
    """Log to standard error with ``--verbose``, or if systemd connected it to the journal, and
    otherwise not there: a command prints its result and its errors.

    ``is_change``: it changes images or makes a backup, and the journal has to say who did so.
    """
    from imaged.telemetry.log import configure_log, discard_log, is_journal, log_to_journal_only

    context = click.get_current_context(silent=True)
    if is_journal(sys.stderr) or (context is not None and context.meta.get(VERBOSE)):
        configure_log(level, output_format)
    elif is_change:
        log_to_journal_only(level)
    else:
        discard_log()


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def no_trunc_option(command: F) -> F:
    """``--no-trunc``."""
    text = "Print each row on one line, however long; else it is folded to the terminal."
    return click.option("--no-trunc", is_flag=True, help=text)(command)


def wide_option(command: F) -> F:
    """``--wide``."""
    return click.option("--wide", is_flag=True, help="Print more columns.")(command)


def confirm(what: str) -> None:
    """Ask for confirmation. Raises UsageError without a terminal, Abort on a no."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what}\nWithout a terminal this needs --yes.")
    click.confirm(f"{what}\nGo on?", abort=True, err=True)
