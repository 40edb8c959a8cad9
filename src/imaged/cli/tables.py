"""Text tables, printed once or redrawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

PIPED_WIDTH = 250  # without a terminal nothing is cut


@dataclass(frozen=True, slots=True)
class TextTable:
    """A title with a table below; without rows only the title is printed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def draw(self) -> Table:
        """The rows as a table of rich."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(*self.columns, box=box.SIMPLE_HEAD)
        for row in self.rows:
            table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
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
        console.print(self.draw())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a title and a table."""
    TextTable(title, columns, list(rows)).print()


def printable(text: str) -> str:
    """The text without control characters: users choose names, and terminals obey those."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
