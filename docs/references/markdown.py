"""Markdown tables and code spans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MADE = "Made from the code by `make docs`; do not edit."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; line ends in cells become spaces, and bars are escaped."""
    lines = [_row(head), f"|{'---|' * len(head)}", *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    inner = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(inner)} |"


def code(text: object) -> str:
    """The text as a code span."""
    return f"`{text}`"


def first_paragraph(documented: object) -> str:
    """The first paragraph of a docstring, in one line."""
    text = documented.__doc__ or ""
    return " ".join(text.partition("\n\n")[0].replace("``", "`").split())
