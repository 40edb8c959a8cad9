"""Facts as tables for people: printed once, or drawn again and again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

PIPED_WIDTH = 250  # where the output is no terminal, nothing is cut


@dataclass(frozen=True, slots=True)
class TextTable:
    """A title, and rows of cells below it; no table is drawn where there are none."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def draw(self) -> Table:
        """The rows, as something that rich can show."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(*self.columns, box=box.SIMPLE_HEAD)
        for row in self.rows:
            table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
        return table

    def print(self) -> None:
        """Show it: whole, also where the output is no terminal."""
        click.echo(self.title)
        if not self.rows:
            return
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            console.width = PIPED_WIDTH
        console.print(self.draw())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print facts for people."""
    TextTable(title, columns, list(rows)).print()


def printable(text: str) -> str:
    """Names come from users; a terminal must not obey them."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
