"""``imaged status``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import config_option, json_option, print_json
from imaged.cli.watch import WatchedView, watch, watch_option

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from imaged.config import Config
    from imaged.core.summary import Summary
    from imaged.ports.catalog import Catalog


@click.command()
@watch_option
@config_option
@json_option
def status(file: Path | None, *, every: timedelta | None, as_json: bool) -> None:
    """Show the instances, their work, waiting tasks, and blobs to be deleted.

    It reads the catalog, and no store. Exit code 1: the catalog does not answer.
    With --watch and --json, each reading is one line.
    """
    from imaged.cli.context import run_with_catalog
    from imaged.cli.status_view import summary_json

    if every is not None:
        watch(file, every, WatchedView(_summarize, _draw, _print, summary_json), as_json=as_json)
        return
    summary = run_with_catalog(file, _summarize)
    if as_json:
        print_json(summary_json(summary))
    else:
        _print(summary)


async def _summarize(catalog: Catalog, _: Config) -> Summary:
    return await catalog.summarize()


def _print(summary: Summary) -> None:
    from imaged.cli.status_view import status_tables, waiting

    for listing in status_tables(summary):
        listing.print()
    click.echo(waiting(summary))


def _draw(summary: Summary) -> Group:
    from rich.console import Group
    from rich.text import Text

    from imaged.cli.status_view import status_tables, waiting

    parts: list[RenderableType] = []
    for listing in status_tables(summary):
        parts.append(Text(listing.title))
        if listing.rows:
            parts.append(listing.draw())
    return Group(*parts, Text(waiting(summary)))
