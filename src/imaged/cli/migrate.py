"""``imaged migrate`` and ``imaged adopt-store``: which catalog there is, and what belongs to it."""

from __future__ import annotations

from dataclasses import asdict
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
    from imaged.catalogs.migrations import Migration
    from imaged.config import Config
    from imaged.daemon.drivers import PlaceInventory

PLACE_KINDS = ("store", "exports", "scratch")


@click.command()
@config_option
@verbose_option
@click.option("--contract", is_flag=True, help="Also remove what only older versions needed.")
@click.option(
    "--new-catalog",
    is_flag=True,
    help="Create a new catalog although the stores hold images of another or a lost one.",
)
@click.option(
    "--from",
    "source",
    metavar="URL",
    help="Copy the catalog of this URL into the empty database of catalog.url.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --contract, --new-catalog.")
@json_option
def migrate(
    file: Path | None,
    *,
    contract: bool,
    new_catalog: bool,
    source: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Migrate the catalog to this version. A daemon migrates SQLite catalogs by itself.

    Either all steps are taken, or none. Instances of the version before keep working; when all of
    them are upgraded, --contract removes what only they needed. Older versions cannot use the
    catalog then, so it asks first.

    A missing catalog is created, unless the stores contain data: a new catalog would know none of
    their images. Restore their catalog; or use --new-catalog, which creates one and adopts all
    stores for it. It asks first, too.

    --from moves a catalog from SQLite to PostgreSQL, or back: all of it or nothing, with its id, so
    that the stores are still its own. Stop all daemons first. The old one is not changed. The
    password of a PostgreSQL URL comes from PGPASSWORD or ~/.pgpass.
    """
    if source is not None:
        if contract or new_catalog:
            raise click.UsageError("--from cannot be combined with --contract or --new-catalog.")
        _move(file, source, as_json=as_json)
        return
    if contract and not yes:
        confirm("Older versions of imaged will not be able to use this catalog any more.")
    import anyio

    from imaged.config import load

    config = load(file)
    configure_command_log()
    if not new_catalog:
        done = anyio.run(_migrate, config, contract)
    else:
        held = anyio.run(_find_held_stores, config)
        if held and not yes:
            found = "".join(f"\n- {one}" for one in held)
            confirm(f"A new catalog does not know this data:{found}\n{adoption_warning(config)}")
        done = anyio.run(_create_catalog, config)
    if as_json:
        print_json(asdict(done))
        return
    since = "already" if done.before == done.now else "now"
    print_sentence(f"The catalog is at revision {done.now} {since}.")
    if done.waiting:
        print_sentence(
            "When every instance runs this version, remove what only older ones needed: "
            "`imaged migrate --contract`."
        )


def _move(file: Path | None, source: str, *, as_json: bool) -> None:
    import anyio

    from imaged.catalogs.connect import without_password
    from imaged.catalogs.move import copy_to_other_kind
    from imaged.config import load
    from imaged.config.secrets import has_password
    from imaged.daemon.settings import password_file
    from imaged.units import pluralize

    if has_password(source):
        raise click.UsageError(
            "All users see a password in --from: set PGPASSWORD, or name a service that has it "
            "(service=NAME)."
        )
    config = load(file)
    configure_command_log()
    url = config.catalog.url
    moved = anyio.run(copy_to_other_kind, source, url, password_file(config))
    if as_json:
        print_json(asdict(moved))
        return
    click.echo(
        f"Copied {pluralize(moved.rows['images'], 'image')} ({sum(moved.rows.values())} rows in "
        f"all) to {without_password(url)}, at revision {moved.revision}.\n"
        f"Start daemons with this catalog alone: {source} has the same id, was not changed, and "
        "may be removed when all is well."
    )


async def _migrate(config: Config, contract: bool) -> Migration:  # noqa: FBT001 - for anyio.run
    from imaged.catalogs.connect import is_new, migrate_catalog
    from imaged.daemon.drivers import require_empty_stores
    from imaged.daemon.settings import password_file

    where, password = config.catalog.url, password_file(config)
    if await is_new(where, password):
        await require_empty_stores(config)
    return await migrate_catalog(where, password, contract=contract)


async def _find_held_stores(config: Config) -> list[str]:
    from imaged.catalogs.connect import is_new, without_password
    from imaged.daemon.drivers import inspect_stores
    from imaged.daemon.settings import password_file

    if not await is_new(config.catalog.url, password_file(config)):
        raise click.UsageError(
            f"There is a catalog in {without_password(config.catalog.url)}; --new-catalog is for a "
            "catalog.url without a catalog. `imaged adopt-store` adopts one store."
        )
    return [str(inventory) for inventory in await inspect_stores(config) if inventory]


async def _create_catalog(config: Config) -> Migration:
    from imaged.catalogs.connect import migrate_catalog, open_catalog
    from imaged.daemon.places import all_places
    from imaged.daemon.settings import password_file
    from imaged.services.marked_places import PlaceRegistry

    where, password = config.catalog.url, password_file(config)
    async with all_places(config) as found:
        done = await migrate_catalog(where, password)
        catalog = await open_catalog(where, password)
        try:
            for place in found:
                await PlaceRegistry(catalog).adopt(place)
        finally:
            await catalog.close()
    return done


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
