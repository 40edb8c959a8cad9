"""``imaged version``."""

from __future__ import annotations

import platform

import click

from imaged.cli.options import json_option
from imaged.cli.output import print_json


@click.command()
@json_option
def version(*, as_json: bool) -> None:
    """Print the version."""
    from importlib.metadata import version as installed_version

    facts = {"imaged": installed_version("imaged"), "python": platform.python_version()}
    if as_json:
        print_json(facts)
    else:
        click.echo(f"imaged {facts['imaged']}")
