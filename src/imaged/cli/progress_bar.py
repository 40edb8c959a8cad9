"""Progress of a transfer: a bar on a terminal, lines elsewhere, nothing with --quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from imaged.client.progress import NoProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class ProgressLines:
    """Prints notes on standard error, and no progress."""

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Print nothing."""

    def advance(self, size_bytes: int) -> None:
        """Print nothing."""

    def note(self, sentence: str) -> None:
        """Print the sentence."""
        click.echo(sentence, err=True)


class TerminalProgress:
    """Draws a bar with size, rate and remaining time."""

    def __init__(self, drawn: RichProgress, task: TaskID) -> None:
        self._drawn = drawn
        self._task = task

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Reset the bar."""
        self._drawn.reset(self._task, total=total_bytes, completed=done_bytes)

    def advance(self, size_bytes: int) -> None:
        """Advance the bar."""
        self._drawn.advance(self._task, size_bytes)

    def note(self, sentence: str) -> None:
        """Print the sentence above the bar."""
        self._drawn.console.print(sentence, markup=False, highlight=False)


@contextmanager
def show_progress(what: str, *, is_quiet: bool) -> Iterator[Progress]:
    """Show progress while the block runs; standard output is left to the result."""
    if is_quiet:
        yield NoProgress()
    elif not sys.stderr.isatty():
        yield ProgressLines()
    else:
        with _bar(what) as bar:
            yield bar


@contextmanager
def _bar(what: str) -> Iterator[TerminalProgress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as drawn:
        yield TerminalProgress(drawn, drawn.add_task(escape(what), total=None))
