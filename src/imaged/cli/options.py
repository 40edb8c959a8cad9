"""Options of several commands, and the output of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(dir_okay=False, path_type=Path)


def config_option(command: F) -> F:
    """``--config FILE``."""
    text = "The configuration; default: /etc/imaged/imaged.toml."
    return click.option("--config", "file", metavar="FILE", type=FILE, help=text)(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def quiet_option(command: F) -> F:
    """``--quiet``."""
    text = "Show no progress, and print only the result."
    return click.option("-q", "--quiet", is_flag=True, help=text)(command)


def tries_option(command: F) -> F:
    """``--tries N``."""
    text = "The number of tries after broken connections, in all."
    kind = click.IntRange(1, 100)
    return click.option("--tries", metavar="N", type=kind, default=5, show_default=True, help=text)(
        command
    )


def print_json(facts: object, *, to_stderr: bool = False) -> None:
    """Print facts as JSON."""
    click.echo(json.dumps(facts, indent=2), err=to_stderr)
