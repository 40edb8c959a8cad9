"""``--watch``: read the catalog periodically, on a full screen or line by line."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from imaged.cli.output import print_failure
from imaged.units import approximate_duration, format_duration, parse_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from imaged.config import Config
    from imaged.ports.catalog import Catalog

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

DEFAULT_INTERVAL = "2s"
MIN_INTERVAL = timedelta(milliseconds=100)
REDRAWS_PER_SECOND = 2


class Interval(click.ParamType[timedelta]):
    """A duration."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return the duration, at least 100 ms."""
        try:
            return max(parse_duration(value), MIN_INTERVAL)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def watch_option(command: F) -> F:
    """``--watch [DURATION]``: None without the option."""
    text = f"Repeat, every {DEFAULT_INTERVAL} or DURATION, until you interrupt it."
    return click.option(
        "--watch",
        "every",
        metavar="DURATION",
        type=Interval(),
        is_flag=False,
        flag_value=DEFAULT_INTERVAL,
        help=text,
    )(command)


@dataclass(frozen=True, slots=True)
class WatchedView(Generic[T]):
    """How facts are read and shown."""

    read: Callable[[Catalog, Config], Awaitable[T]]
    draw: Callable[[T], RenderableType]  # on a terminal
    print: Callable[[T], None]  # elsewhere
    facts: Callable[[T], object]  # for programs
    is_over: Callable[[T], bool] | None = None  # None: never


def watch(file: Path | None, every: timedelta, view: WatchedView[T], *, as_json: bool) -> T | None:
    """Read until the view is over or an interrupt; return the last reading."""
    from rich.console import Console

    def tell(seen: T) -> None:
        click.echo(json.dumps(view.facts(seen)))

    console = Console()
    if as_json or not console.is_terminal:
        return _look(file, every, view, tell if as_json else view.print, print_failure)
    return _draw(file, every, view)


def _draw(file: Path | None, every: timedelta, view: WatchedView[T]) -> T | None:
    from rich.live import Live

    screen = WatchScreen(view.draw, every, time.monotonic)
    with Live(
        get_renderable=screen.draw,
        screen=view.is_over is None,
        refresh_per_second=REDRAWS_PER_SECOND,  # in a thread: also while a reading hangs
    ) as live:

        def show(seen: T) -> None:
            screen.show(seen)
            live.refresh()

        seen = _look(file, every, view, show, screen.fail)
        screen.end()
    return seen


class WatchScreen(Generic[T]):
    """The last reading, its age, and why there is no newer one. ``clock``: seconds."""

    def __init__(
        self, draw: Callable[[T], RenderableType], every: timedelta, clock: Callable[[], float]
    ) -> None:
        self._draw = draw
        self._every = every
        self._clock = clock
        self._seen: tuple[T, float] | None = None  # with the time of the reading
        self._failure = ""
        self._is_over = False

    def show(self, seen: T) -> None:
        """Show a new reading."""
        self._seen, self._failure = (seen, self._clock()), ""

    def fail(self, sentence: str) -> None:
        """Show why the catalog was not read, beside the age of the last reading."""
        self._failure = sentence

    def end(self) -> None:
        """Leave the last reading, which will not be renewed."""
        self._is_over = True

    def draw(self) -> RenderableType:
        """What fits on the terminal: when it was read, or why it was not, and the reading."""
        from rich.console import Group
        from rich.text import Text

        from imaged.cli.output import FittingLines

        head = [] if self._is_over else [Text(self._head(), "bold red" if self._failure else "dim")]
        drawn = [] if self._seen is None else [self._draw(self._seen[0])]
        return FittingLines(Group(*head, *drawn))

    def _head(self) -> str:
        """One line also during a failure, so that what stands below keeps its place."""
        often = f"every {format_duration(self._every)}"
        end = f"Error: {self._failure}" if self._failure else "Ctrl-C ends."
        if self._seen is None:
            return f"Not read yet; tried {often}. {end}"
        age = timedelta(seconds=int(self._clock() - self._seen[1]))
        return f"Read {approximate_duration(age)} ago, {often}. {end}"


def _look(
    file: Path | None,
    every: timedelta,
    view: WatchedView[T],
    show: Callable[[T], None],
    fail: Callable[[str], None],
) -> T | None:
    """Read periodically, also while the catalog cannot be opened or does not answer, which
    ``fail`` is told.
    """
    import anyio

    from imaged.cli.context import run_with_catalog
    from imaged.core.errors import CatalogError

    seen: T | None = None

    async def look(catalog: Catalog, config: Config) -> None:
        nonlocal seen
        while True:
            try:
                seen = await view.read(catalog, config)
            except CatalogError as error:
                fail(str(error))
            else:
                show(seen)
                if view.is_over is not None and view.is_over(seen):
                    return
            await anyio.sleep(every.total_seconds())

    with suppress(KeyboardInterrupt):  # an interrupt ends watching
        while True:
            try:
                run_with_catalog(file, look)
            except CatalogError as error:
                fail(str(error))
                time.sleep(every.total_seconds())  # no event loop runs while nothing is open
            else:
                break
    return seen
