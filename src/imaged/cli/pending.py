"""``imaged pending``, ``imaged restore`` and ``imaged purge``: deleted images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import (
    config_option,
    confirm,
    json_option,
    no_trunc_option,
    verbose_option,
    wide_option,
)
from imaged.cli.output import local_time, print_json, print_sentence
from imaged.cli.tables import print_table
from imaged.core.attributes import UUID_PATTERN
from imaged.units import age_in_words, approximate_duration, approximate_size, pluralize

if TYPE_CHECKING:
    from imaged.config import Config
    from imaged.core.image import Image
    from imaged.ports.catalog import Catalog

COLUMNS = ("image", "name", "size", "time left", "deleted")
WIDE_COLUMNS = ("image", "name", "size", "time left", "deleted at", "owner")


@click.command()
@wide_option
@no_trunc_option
@config_option
@verbose_option
@json_option
def pending(file: Path | None, *, wide: bool, no_trunc: bool, as_json: bool) -> None:
    """List the deleted images that can still be restored, and for how long."""
    from imaged.cli.context import run_with_catalog

    rows = run_with_catalog(file, _read_pending)
    if as_json:
        print_json(rows)
        return
    print_table(
        f"{pluralize(len(rows), 'deleted image')} that can be restored",
        WIDE_COLUMNS if wide else COLUMNS,
        [tuple(_cells(row, wide=wide)) for row in rows],
        is_folded=not no_trunc,
    )


@click.command()
@click.argument("name", metavar="IMAGE")
@config_option
@verbose_option
@json_option
def restore(name: str, file: Path | None, *, as_json: bool) -> None:
    """Restore a deleted image, with everything that it had.

    IMAGE is an id, or a name that only one image of `imaged pending` has.
    """
    from imaged.cli.context import run_with_catalog
    from imaged.daemon.container import build_images

    async def bring_back(catalog: Catalog, config: Config) -> Image:
        image_id = await _find_pending(catalog, config, name)
        return await build_images(catalog, config).restore(image_id)

    image = run_with_catalog(file, bring_back, is_change=True)
    if as_json:
        print_json({"id": image.id, "name": image.name, "status": image.status})
    else:
        click.echo(f"{image.id} is {image.status} again.")


@click.command()
@click.argument("name", metavar="IMAGE")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@config_option
@verbose_option
@json_option
def purge(name: str, file: Path | None, *, yes: bool, as_json: bool) -> int:
    """Scrub a deleted image now: its bytes are deleted, and it cannot be restored.

    IMAGE is an id, or a name that only one image of `imaged pending` has. Bytes that a clone shares
    stay. Who asked is in the image's history, and in the log.
    """
    from imaged.cli.context import run_with_catalog, run_with_drivers
    from imaged.core import deletion
    from imaged.daemon.container import build_scrubber

    image_id = run_with_catalog(file, lambda catalog, config: _find_pending(catalog, config, name))
    if not yes:
        image = run_with_catalog(file, lambda catalog, _: catalog.get_image(image_id))
        deletion.purge(image)
        confirm(_description(image))
    report = run_with_drivers(
        file,
        lambda drivers, config: build_scrubber(drivers, config).purge(image_id),
        is_change=True,
    )
    if as_json:
        print_json({"id": image_id, **asdict(report)})
    elif report.failed:
        print_sentence(
            f"{pluralize(report.failed, 'blob')} of {image_id} could not be deleted yet; the "
            "scrubber tries again. `imaged scrub --dry-run` says why.",
            err=True,
        )
    else:
        click.echo(f"{image_id} is scrubbed: {approximate_size(report.deleted_bytes)} are free.")
    return EXIT_PROBLEMS if report.failed else 0


def _description(image: Image) -> str:
    """What is lost, for a question."""
    size = approximate_size(image.charge_bytes)
    return f"The image {image.name or image.id} of {image.owner} ({size}) is deleted for good."


def _cells(row: dict[str, Any], *, wide: bool) -> Iterator[str]:
    deleted_at = datetime.fromisoformat(row["deleted_at"])
    yield row["id"]
    yield row["name"] or ""
    yield approximate_size(row["size_bytes"])
    yield approximate_duration(timedelta(seconds=row["seconds_left"]))
    if wide:
        yield local_time(deleted_at)
        yield row["owner"]
    else:
        yield f"{age_in_words(datetime.now(UTC) - deleted_at)} ago"


async def _find_pending(catalog: Catalog, config: Config, image: str) -> str:
    """The id of a deleted image, from its id or its name. Raises ClickException."""
    if re.fullmatch(UUID_PATTERN, image):
        return image.lower()
    found = [row["id"] for row in await _read_pending(catalog, config) if row["name"] == image]
    match found:
        case [image_id]:
            return str(image_id)
        case []:
            raise click.ClickException(
                f"No deleted image that can be restored has the name {image}. `imaged pending` "
                "lists those that can."
            )
        case _:
            raise click.ClickException(
                f"Several deleted images have the name {image}. Say which by its id: "
                f"{', '.join(found)}."
            )


async def _read_pending(catalog: Catalog, config: Config) -> list[dict[str, Any]]:
    from imaged.daemon.container import build_images

    now, delay = datetime.now(UTC), config.scrubber.delay
    waiting = build_images(catalog, config).pending()
    return [_row(image, now, delay) async for image in waiting if not image.is_expired]


def _row(image: Image, now: datetime, delay: timedelta) -> dict[str, Any]:
    deleted_at = image.since or now
    left = max(deleted_at + delay - now, timedelta(0))
    return {
        "id": image.id,
        "name": image.name,
        "size_bytes": image.content.size_bytes if image.content else 0,
        "owner": image.owner,
        "deleted_at": deleted_at.isoformat(timespec="seconds"),
        "seconds_left": int(left.total_seconds()),
    }
