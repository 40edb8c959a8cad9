"""``imaged adopt-store``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli.options import (
    config_option,
    configure_command_log,
    confirm,
    json_option,
    verbose_option,
)
from imaged.cli.output import print_json, print_sentence

if TYPE_CHECKING:
    from imaged.config import Config
    from imaged.daemon.drivers import PlaceInventory

PLACE_KINDS = ("store", "exports", "scratch")


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(PLACE_KINDS),
    default="store",
    show_default=True,
    help="The kind of place; the scratch folder has the name scratch.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@config_option
@verbose_option
@json_option
def adopt_store(name: str, kind: str, file: Path | None, *, yes: bool, as_json: bool) -> None:
    """Adopt the place of a store for this catalog, whatever it contains.

    For a folder or bucket that was moved, restored without its marker, or left by a lost catalog.
    Blobs that this catalog does not know become strays. Stop the daemons first.
    """
    import anyio

    from imaged.config import load

    config = load(file)
    configure_command_log(config.log.level, config.log.format)
    inventory = anyio.run(_inspect, config, name, kind)
    if not yes:
        confirm(f"Found: {inventory}.\n{adoption_warning(config)}")
    marker = anyio.run(_adopt, config, name, kind)
    if as_json:
        print_json({"kind": kind, "name": name, "place_id": str(marker)})
    else:
        print_sentence(
            f"The {kind} {name!r} belongs to this catalog now. Restart all instances that use it."
        )


def adoption_warning(config: Config) -> str:
    """A warning about data that the catalog does not know."""
    from imaged.units import approximate_duration

    quarantine = approximate_duration(config.reconcile.quarantine)
    return (
        "Blobs that this catalog does not know become strays: `imaged reconcile` lists "
        f"them, and a few among many are deleted {quarantine} after they were found. No daemon of "
        "another catalog may work there."
    )


async def _inspect(config: Config, name: str, kind: str) -> PlaceInventory:
    from imaged.daemon.drivers import open_catalog, take_inventory
    from imaged.daemon.places import open_place

    async with open_catalog(config), open_place(config, kind, name) as (place, store):
        return await take_inventory(place, store)


async def _adopt(config: Config, name: str, kind: str) -> str:
    from imaged.daemon.drivers import open_catalog
    from imaged.daemon.places import open_place
    from imaged.services.marked_places import PlaceRegistry

    async with open_catalog(config) as catalog, open_place(config, kind, name) as (place, _):
        return str((await PlaceRegistry(catalog).adopt(place)).place_id)
