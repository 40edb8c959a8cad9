"""``imaged status``: who works on the catalog, and what there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option, json_option, print_json
from imaged.units import parse_duration

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from imaged.config import Config
    from imaged.core.summary import Summary
    from imaged.ports.catalog import Catalog

EVERY = "2s"
SHORTEST = timedelta(milliseconds=100)


class Every(click.ParamType[timedelta]):
    """A duration."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Return it."""
        try:
            return max(parse_duration(value), SHORTEST)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.option(
    "--watch",
    "every",
    metavar="DURATION",
    type=Every(),
    is_flag=False,
    flag_value=EVERY,
    help=f"Show it again and again, every {EVERY} or as often as you say, until you interrupt it.",
)
@config_option
@json_option
def status(file: Path | None, *, every: timedelta | None, as_json: bool) -> None:
    """Show the instances, what each works on, and what waits for the scrubber.

    It tells what the catalog knows, and asks no store. Exit code 1: the catalog does not answer.
    With --watch and --json, each look is one line.
    """
    if every is not None:
        _watch(file, every, as_json=as_json)
        return
    from imaged.cli.opening import run_with_catalog
    from imaged.cli.summary_views import facts_of

    summary = run_with_catalog(file, _summarize)
    if as_json:
        print_json(facts_of(summary))
    else:
        _print(summary)


async def _summarize(catalog: Catalog, _: Config) -> Summary:
    return await catalog.summarize()


def _print(summary: Summary) -> None:
    from imaged.cli.summary_views import listings, waiting

    for listing in listings(summary):
        listing.print()
    click.echo(waiting(summary))


def _watch(file: Path | None, every: timedelta, *, as_json: bool) -> None:
    """Look again and again: on a screen of its own, or line by line where there is none."""
    from rich.console import Console

    console = Console()
    if as_json or not console.is_terminal:
        _look_forever(file, every, _print_line if as_json else _print, _complain)
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, screen=True, auto_refresh=False) as screen:

        def complain(sentence: str) -> None:
            screen.update(Text(sentence), refresh=True)

        def show(summary: Summary) -> None:
            screen.update(_draw(summary), refresh=True)

        _look_forever(file, every, show, complain)


def _look_forever(
    file: Path | None,
    every: timedelta,
    show: Callable[[Summary], None],
    complain: Callable[[str], None],
) -> None:
    """A catalog that does not answer for a while is looked at again."""
    import anyio

    from imaged.cli.opening import run_with_catalog
    from imaged.core.errors import CatalogError

    async def look(catalog: Catalog, _: Config) -> None:
        while True:
            try:
                show(await catalog.summarize())
            except CatalogError as error:
                complain(str(error))
            await anyio.sleep(every.total_seconds())

    try:
        run_with_catalog(file, look)
    except KeyboardInterrupt:  # that is how watching ends
        return


def _draw(summary: Summary) -> Group:
    from rich.console import Group
    from rich.text import Text

    from imaged.cli.summary_views import listings, waiting

    parts: list[RenderableType] = []
    for listing in listings(summary):
        parts.append(Text(listing.title))
        if listing.rows:
            parts.append(listing.draw())
    return Group(*parts, Text(waiting(summary)))


def _print_line(summary: Summary) -> None:
    from imaged.cli.summary_views import facts_of

    click.echo(json.dumps(facts_of(summary)))


def _complain(sentence: str) -> None:
    click.echo(sentence, err=True)
