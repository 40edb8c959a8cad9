"""Tables of texts: aligned and folded on a terminal, with tabs elsewhere.

People copy ids, so no line break is put into one, however narrow the terminal is. Other texts are
folded first, the widest ones; columns that still do not fit are below their row. (The tables of
rich break any word where room is short, or let the table be wider than the terminal.)
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import click

from imaged.cli.output import printable

if TYPE_CHECKING:
    from rich.text import Text

GAP = "  "  # between columns
INDENT = "    "  # of columns below their row
UNFOLDED_WIDTH = 12  # characters; a column of no more is never folded

#: What is never broken: an id, with the folder that a key begins with, and a sign behind it.
_ID = re.compile(
    r"(?:\w{1,4}/)?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}[.,;:)]?", re.ASCII
)
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d (?P<zone>\S+)", re.ASCII)
_PIECE = re.compile(rf"{_ID.pattern}|.")


@dataclass(frozen=True, slots=True)
class TextTable:
    """A title with a table below; without rows only the title is printed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def print(self, *, is_folded: bool = True) -> None:
        """Print title and table: folded to the width of the terminal, or each row on one line.
        Where the output is no terminal, cells are separated by tabs.
        """
        click.echo(self.title)
        if not self.rows:
            return
        if not sys.stdout.isatty():
            for row in self._cells():
                click.echo("\t".join(row))
            return
        first, *others = self.lines(shutil.get_terminal_size().columns if is_folded else None)
        click.secho(first, bold=True)
        for line in others:
            click.echo(line)

    def lines(self, width: int | None) -> list[str]:
        """The header and the rows. ``width``: in characters; None: no limit."""
        columns = [_zone_in_header(column) for column in zip(*self._cells(), strict=True)]
        header, *rows = zip(*columns, strict=True)
        widths = _widths(columns, width)
        beside = len(widths)
        lines = list(_side_by_side(header[:beside], widths))
        for row in rows:
            lines += _side_by_side(row[:beside], widths)
            for name, cell in zip(header[beside:], row[beside:], strict=True):
                if cell and width is not None:
                    folded = fold(f"{name}: {cell}", width - len(INDENT))
                    lines += [f"{INDENT}{line}" for line in folded]
        return lines

    def draw(self) -> Text:
        """The table for a screen of rich, in the width of the terminal."""
        from rich.text import Text

        return Text("\n".join(self.lines(shutil.get_terminal_size().columns)))

    def _cells(self) -> list[list[str]]:
        """The header and the rows, without control characters."""
        return [[printable(cell) for cell in row] for row in (self.columns, *self.rows)]


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    is_folded: bool = True,
) -> None:
    """Print a title and a table."""
    TextTable(title, columns, list(rows)).print(is_folded=is_folded)


def print_tables(tables: Iterable[TextTable], *, is_folded: bool = True) -> None:
    """Print tables, with an empty line below each that has rows."""
    for table in tables:
        table.print(is_folded=is_folded)
        if table.rows:
            click.echo()


def _zone_in_header(column: Sequence[str]) -> Sequence[str]:
    """A column of local times, with their zone in the header if all have the same: a narrow
    terminal then breaks no time.
    """
    header, *cells = column
    times = [_LOCAL_TIME.fullmatch(cell) for cell in cells if cell]
    zones = {found and found["zone"] for found in times}
    if len(zones) != 1 or None in zones:
        return column
    (zone,) = zones
    return [f"{header} ({zone})", *(cell.removesuffix(f" {zone}") for cell in cells)]


def _widths(columns: Sequence[Sequence[str]], width: int | None) -> list[int]:
    """The widths of the columns that have room beside each other, the first one at least."""
    natural = [max(map(_cell_len, column)) for column in columns]
    if width is None:
        return natural
    least = [
        min(whole, max(UNFOLDED_WIDTH, *map(_longest_id, column)))
        for whole, column in zip(natural, columns, strict=True)
    ]
    count = len(columns)
    while count > 1 and sum(least[:count]) + len(GAP) * (count - 1) > width:
        count -= 1
    widths = natural[:count]
    while sum(widths) + len(GAP) * (count - 1) > width:
        foldable = [number for number in range(count) if widths[number] > least[number]]
        if not foldable:
            break  # not even an id fits
        widths[max(foldable, key=widths.__getitem__)] -= 1
    return widths


def _side_by_side(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The lines of a row."""
    folded = [fold(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*folded, fillvalue=""):
        padded = (
            part + " " * (width - _cell_len(part))
            for part, width in zip(parts, widths, strict=True)
        )
        yield GAP.join(padded).rstrip()


def fold(text: str, width: int) -> list[str]:
    """The text in lines: broken between words, and within those that are wider than a line, but
    not within an id.
    """
    if _cell_len(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if _cell_len(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = ""
        for piece in _PIECE.findall(word):
            if line and _cell_len(line + piece) > width:
                lines.append(line)
                line = ""
            line += piece
    return [*lines, line]


def hanging(text: str, width: int, indent: int) -> str:
    """The text, folded; all lines but the first one are indented."""
    return f"\n{' ' * indent}".join(fold(text, width - indent))


def _longest_id(text: str) -> int:
    return max((len(found[0]) for found in _ID.finditer(text)), default=0)


def _cell_len(text: str) -> int:
    """The width on a terminal: letters of some scripts take two places."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
