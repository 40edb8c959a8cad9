"""``imaged migrate``."""

from __future__ import annotations

from pathlib import Path

import click

from imaged.cli.options import config_option, json_option, print_json


@click.command()
@config_option
@json_option
def migrate(file: Path | None, *, as_json: bool) -> None:
    """Bring the catalog to this version. SQLite catalogs are migrated at start by themselves.

    All steps are taken, or none.
    """
    from imaged.catalogs import migrations
    from imaged.config import load

    before = migrations.upgrade(load(file).catalog.url)
    if as_json:
        print_json({"before": before, "now": migrations.WANTED})
    elif before == migrations.WANTED:
        click.echo(f"The catalog is at revision {before} already.")
    else:
        click.echo(f"The catalog is at revision {migrations.WANTED} now.")
