"""Options of several commands, and their confirmation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from imaged import DEFAULT_CONFIG_FILE

F = TypeVar("F", bound=Callable[..., Any])

FILE_TYPE = click.Path(dir_okay=False, path_type=Path)


def config_option(command: F) -> F:
    """``--config FILE``."""
    text = f"The configuration; default: {DEFAULT_CONFIG_FILE}."
    return click.option("--config", "file", metavar="FILE", type=FILE_TYPE, help=text)(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def confirm(what: str) -> None:
    """Ask for confirmation. Raises UsageError without a terminal, Abort on a no."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what}\nWithout a terminal this needs --yes.")
    click.confirm(f"{what}\nGo on?", abort=True, err=True)
