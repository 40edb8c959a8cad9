"""``imaged ls``, ``imaged show``, ``imaged set`` and ``imaged rm``: the records of images."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged.cli.output import local_time, print_json, print_table, printable
from imaged.cli.push import VISIBILITIES, property_option
from imaged.cli.transfers import TransferOptions, service_options
from imaged.units import approximate_duration, approximate_size, pluralize

if TYPE_CHECKING:
    from imaged.client.image_api import ImageApi, Record

DEFAULT_LIMIT = 100

T = TypeVar("T")


@click.command()
@click.option("--name", help="Only images with this name.")
@click.option("--status", help="Only images in this status, such as active.")
@click.option("--tag", help="Only images with this tag.")
@click.option("--visibility", type=click.Choice(VISIBILITIES), help="Only such images.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="The maximum number of images, the newest first.",
)
@service_options
def ls(limit: int, *, options: TransferOptions, **filters: str | None) -> None:
    """List the images that you may see, the newest first."""
    wanted = {name: value for name, value in filters.items() if value is not None}
    records = _ask(options, lambda service: service.list(wanted, limit + 1))
    is_cut, records = len(records) > limit, records[:limit]
    if options.as_json:
        print_json([record.all for record in records])
        return
    more = f", and there are more: --limit {limit * 10} shows them" if is_cut else ""
    print_table(
        pluralize(len(records), "image") + more,
        ("image", "name", "status", "size", "format", "visibility", "age"),
        [_row(record) for record in records],
    )


@click.command()
@click.argument("image", metavar="IMAGE")
@service_options
def show(image: str, *, options: TransferOptions) -> None:
    """Show all attributes of IMAGE, an id or a name that only one image has."""
    record = _ask(options, lambda service: service.find(image))
    if options.as_json:
        print_json(record.all)
        return
    for name, value in _attributes(record):
        click.echo(f"{printable(name):<20} {printable(value)}")


@click.command(name="set")
@click.argument("image", metavar="IMAGE")
@click.option("--name", help="Its new name.")
@click.option("--visibility", type=click.Choice(VISIBILITIES), help="Which projects may see it.")
@click.option(
    "--protected/--unprotected", default=None, help="Whether it is protected from deletion."
)
@click.option("--tag", "tags", multiple=True, help="A tag to add; can be given several times.")
@property_option("A property to set; can be given several times.")
@click.option(
    "--unset",
    metavar="KEY",
    multiple=True,
    help="A property to remove; can be given several times.",
)
@service_options
def set_(
    image: str,
    *,
    name: str | None,
    visibility: str | None,
    protected: bool | None,
    tags: tuple[str, ...],
    properties: tuple[tuple[str, str], ...],
    unset: tuple[str, ...],
    options: TransferOptions,
) -> None:
    """Change attributes of IMAGE, an id or a name that only one image has: all, or none."""
    given = {"name": name, "visibility": visibility, "protected": protected}
    changes: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    changes |= dict(properties)
    if not (changes or tags or unset):
        raise click.UsageError("There is nothing to change; name an option, such as --name.")

    async def change(service: ImageApi) -> Record:
        record = await service.find(image)
        if tags:
            changes["tags"] = sorted({*record.all.get("tags", ()), *tags})
        return await service.change(record, changes, unset)

    record = _ask(options, change)
    if options.as_json:
        print_json(record.all)
    else:
        click.echo(record.id)


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@service_options
def rm(images: tuple[str, ...], *, options: TransferOptions) -> None:
    """Delete each IMAGE, an id or a name that only one image has.

    All are looked up before the first is deleted. The operator can restore a deleted image for a
    while.
    """

    async def delete(service: ImageApi) -> list[Record]:
        records = [await service.find(image) for image in dict.fromkeys(images)]
        for record in records:
            await service.delete(record.id)
            if not options.as_json:
                click.echo(f"{record.id} is deleted.")
        return records

    records = _ask(options, delete)
    if options.as_json:
        print_json([{"id": record.id, "name": record.name} for record in records])


def _ask(options: TransferOptions, call: Callable[[ImageApi], Awaitable[T]]) -> T:
    """The result of a call to the service."""
    import anyio

    from imaged.client.image_api import open_image_api

    async def run() -> T:
        async with open_image_api(options.endpoint()) as service:
            return await call(service)

    return anyio.run(run)


def _row(record: Record) -> tuple[str, ...]:
    size, created_at = record.size_bytes, _instant(record.all.get("created_at"))
    return (
        record.id,
        record.name,
        record.status,
        "" if size is None else approximate_size(size),
        str(record.all.get("disk_format") or ""),
        str(record.all.get("visibility") or ""),
        "" if created_at is None else approximate_duration(datetime.now(UTC) - created_at),
    )


def _attributes(record: Record) -> Iterator[tuple[str, str]]:
    """Names and values that are set: id, name and status, then the others by name."""
    first = ("id", "name", "status")
    for name in (*first, *sorted(record.all.keys() - set(first))):
        value = record.all.get(name)
        if value is None or value in ([], ""):
            continue
        at = _instant(value) if name.endswith("_at") else None
        yield name, _text(name, value) if at is None else local_time(at)


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if name in {"size", "virtual_size"} and isinstance(value, int):
        return f"{approximate_size(value)} ({value} bytes)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _instant(value: object) -> datetime | None:
    """An instant of the API; None if it is something else."""
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None
