"""``imaged restore``."""

from __future__ import annotations

from pathlib import Path

import click

from imaged.cli.options import config_option, json_option, print_json


@click.command()
@click.argument("image_id", metavar="IMAGE")
@config_option
@json_option
def restore(image_id: str, file: Path | None, *, as_json: bool) -> None:
    """Restore a deleted image, with everything that it had."""
    from imaged.cli.context import run_with_catalog
    from imaged.daemon.container import build_images

    image = run_with_catalog(
        file, lambda catalog, config: build_images(catalog, config).restore(image_id.lower())
    )
    if as_json:
        print_json({"id": image.id, "name": image.name, "status": image.status})
    else:
        click.echo(f"{image.id} is {image.status} again.")
