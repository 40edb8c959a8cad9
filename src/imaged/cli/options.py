"""What several commands have in common: their options, and how they print facts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
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


def print_json(facts: object) -> None:
    """Print facts for programs."""
    click.echo(json.dumps(facts, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print facts for people: whole, also where the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    click.echo(title)
    lines = list(rows)
    if not lines:
        return
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in lines:
        table.add_row(*(Text(_printable(cell), overflow="fold") for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 250
    console.print(table)


def _printable(text: str) -> str:
    """Names come from users; a terminal must not obey them."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
