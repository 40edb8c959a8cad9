"""A result on the terminal, and in README.md between two marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Measure
from bench.report import changes, heads, lines
from bench.result import SECOND, Result

FIGURES_BEGIN, FIGURES_END = (
    "<!-- figures: written by `python -m bench --write-readme` -->",
    "<!-- end -->",
)
LEFT = 2  # so many columns are text


def show(console: Console, result: Result, measures: Sequence[Measure]) -> None:
    """The table of a run."""
    table = Table(title=f"{result.machine}\n{result.noise.sentence}")
    for number, head in enumerate(heads(result)):
        table.add_column(head, justify="left" if number < LEFT else "right", no_wrap=True)
    for line in lines(result, measures):
        table.add_row(*line.cells)
    console.print(table)


def show_changes(
    console: Console, now: Result, earlier: Result, measures: Sequence[Measure]
) -> None:
    """The table of two runs. What the machine did in between is in the ratios to the second."""
    table = Table(title=f"{earlier.at}: {earlier.noise.sentence}\n{now.at}: {now.noise.sentence}")
    second = now.names.get(SECOND, "second")
    heads = ["measure", "unit", "earlier", "now", "times as good"]
    for head in (*heads, f"× {second}, earlier", f"× {second}, now"):
        table.add_column(head, justify="left" if head in heads[:LEFT] else "right")
    for cells in changes(now, earlier, measures):
        table.add_row(*cells)
    console.print(table)


def write_readme(readme: Path, result: Result, measures: Sequence[Measure]) -> None:
    """Replace what is between the marks. Raises ValueError: there are none."""
    pattern = re.compile(f"{re.escape(FIGURES_BEGIN)}.*{re.escape(FIGURES_END)}", re.DOTALL)
    text = readme.read_text()
    if not pattern.search(text):
        raise ValueError(f"{readme} has no place for figures")
    figures = "\n".join([FIGURES_BEGIN, "", *_markdown(result, measures), "", FIGURES_END])
    readme.write_text(pattern.sub(lambda _: figures, text))


def _markdown(result: Result, measures: Sequence[Measure]) -> list[str]:
    columns = heads(result)
    ruler = ["---" if number < LEFT else "---:" for number in range(len(columns))]
    rows = [columns, ruler, *(line.cells for line in lines(result, measures))]
    return [
        f"{result.at[:10]}, {result.machine}.",
        f"{result.sizes.rounds} rounds; {result.noise.sentence}.",
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
