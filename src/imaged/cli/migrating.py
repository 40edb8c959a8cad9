"""``imaged migrate``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from imaged.cli.options import config_option, json_option, print_json


@click.command()
@config_option
@click.option("--contract", is_flag=True, help="Also remove what only older versions needed.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --contract.")
@json_option
def migrate(file: Path | None, *, contract: bool, yes: bool, as_json: bool) -> None:
    """Bring the catalog to this version. SQLite catalogs are migrated at start by themselves.

    All steps are taken, or none. Instances of the version before go on working; when all of them
    are upgraded, --contract removes what only they needed; older versions cannot come back then,
    so it asks first.
    """
    if contract and not yes:
        _ask()
    import anyio

    from imaged.catalogs.migrations import Migration
    from imaged.catalogs.opening import migrate_catalog
    from imaged.config import load
    from imaged.daemon.settings import password_file

    config = load(file)

    async def run() -> Migration:
        where, password = config.catalog.url, password_file(config)
        return await migrate_catalog(where, password, contract=contract)

    done = anyio.run(run)
    if as_json:
        print_json(asdict(done))
        return
    since = "already" if done.before == done.now else "now"
    click.echo(f"The catalog is at revision {done.now} {since}.")
    if done.waiting:
        click.echo(
            "When every instance runs this version, remove what only older ones needed: "
            "`imaged migrate --contract`."
        )


def _ask() -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("--contract needs --yes where nobody can be asked.")
    click.confirm(
        "Older versions of imaged will not be able to use this catalog any more. Go on?",
        abort=True,
        err=True,
    )
