"""``--watch``: read the catalog periodically, on a full screen or line by line."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from imaged.cli.output import print_failure
from imaged.units import parse_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from imaged.config import Config
    from imaged.ports.catalog import Catalog

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

DEFAULT_INTERVAL = "2s"
MIN_INTERVAL = timedelta(milliseconds=100)


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

    def print_warning(sentence: str) -> None:
        print_failure(sentence)

    console = Console()
    if as_json or not console.is_terminal:
        return _look(file, every, view, tell if as_json else view.print, print_warning)
    return _draw(file, every, view)


def _draw(file: Path | None, every: timedelta, view: WatchedView[T]) -> T | None:
    from rich.live import Live
    from rich.text import Text

    with Live(screen=view.is_over is None, auto_refresh=False) as screen:

        def show(seen: T) -> None:
            screen.update(view.draw(seen), refresh=True)

        def print_warning(sentence: str) -> None:
            screen.update(Text(sentence), refresh=True)

        return _look(file, every, view, show, print_warning)


def _look(
    file: Path | None,
    every: timedelta,
    view: WatchedView[T],
    show: Callable[[T], None],
    print_warning: Callable[[str], None],
) -> T | None:
    """Read periodically; print a warning if the catalog does not answer."""
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
                print_warning(str(error))
            else:
                show(seen)
                if view.is_over is not None and view.is_over(seen):
                    return
            await anyio.sleep(every.total_seconds())

    with suppress(KeyboardInterrupt):  # an interrupt ends watching
        run_with_catalog(file, look)
    return seen
