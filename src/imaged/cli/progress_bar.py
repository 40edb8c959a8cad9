"""How far a transfer is: a bar on a terminal, a few lines elsewhere, nothing where not wanted."""

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
    """Tells what is to be known besides, on standard error."""

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Nothing to tell."""

    def advance(self, size_bytes: int) -> None:
        """Nothing to tell."""

    def note(self, sentence: str) -> None:
        """Say it."""
        click.echo(sentence, err=True)


class TerminalProgress:
    """Draws a bar with size, rate and the time that is left."""

    def __init__(self, drawn: RichProgress, task: TaskID) -> None:
        self._drawn = drawn
        self._task = task

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Begin, or begin anew."""
        self._drawn.reset(self._task, total=total_bytes, completed=done_bytes)

    def advance(self, size_bytes: int) -> None:
        """Move on."""
        self._drawn.advance(self._task, size_bytes)

    def note(self, sentence: str) -> None:
        """Say it above the bar."""
        self._drawn.console.print(sentence, markup=False, highlight=False)


@contextmanager
def show_progress(what: str, *, is_quiet: bool) -> Iterator[Progress]:
    """Show it for as long as the block runs; standard output stays for the result."""
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
