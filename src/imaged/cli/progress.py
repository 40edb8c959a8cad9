"""The progress bar of a transfer: share, size, rate and time left. Sizes are in binary units, and
those of the file in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from imaged.units import approximate_duration, approximate_size, approximate_sizes

NAME_WIDTH = 24  # characters; longer names are cut


class ProgressBar:
    """Draws the bar."""

    def __init__(self, drawn: Progress, task: TaskID) -> None:
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
def progress_bar(what: str, console: Console) -> Iterator[ProgressBar]:
    """Draw a bar while the block runs, and remove it at the end. ``what``: the name of the file or
    image.
    """
    name = TextColumn(
        "{task.description}",
        table_column=Column(max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis"),
    )
    columns = (name, BarColumn(bar_width=None), _Share(), _Sizes(), _Rate(), _TimeLeft())
    with Progress(*columns, console=console, expand=True, transient=True) as drawn:
        yield ProgressBar(drawn, drawn.add_task(escape(what), total=None))


class _Share(ProgressColumn):
    """The percentage; nothing while the total is unknown."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.percentage:3.0f} %", no_wrap=True)


class _Sizes(ProgressColumn):
    """The size that is done, and the whole one."""

    def render(self, task: Task) -> Text:
        done = int(task.completed)
        if task.total is None:
            return Text(approximate_size(done), no_wrap=True)
        return Text(approximate_sizes(done, int(task.total)), no_wrap=True)


class _Rate(ProgressColumn):
    """The rate of the last seconds."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{approximate_size(int(rate))}/s", no_wrap=True)


class _TimeLeft(ProgressColumn):
    """The time left; at the end, that the service or the disk still works."""

    max_refresh = 0.5  # seconds

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text("finishing", no_wrap=True)
        left = task.time_remaining
        text = "" if left is None else f"{approximate_duration(timedelta(seconds=left))} left"
        return Text(text, no_wrap=True)
