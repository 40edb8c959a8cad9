"""``imaged ls``, ``imaged show``, ``imaged set`` and ``imaged rm``: the records of images."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged.cli.image_text import attributes, history_row, history_title, instant, member_row
from imaged.cli.options import no_trunc_option, wide_option
from imaged.cli.output import local_time, print_json, print_sentence, printable
from imaged.cli.push_pull import VISIBILITIES, property_option
from imaged.cli.tables import print_table
from imaged.cli.transfers import TransferOptions, service_options
from imaged.units import age_in_words, approximate_size, pluralize

if TYPE_CHECKING:
    from imaged.client.image_api import ImageApi, Record

DEFAULT_LIMIT = 100
#: That a list can have; images that were deleted are in none.
STATUSES = ("queued", "saving", "uploading", "importing", "active", "deactivated", "killed")
COLUMNS = ("image", "name", "status", "size", "age")
WIDE_COLUMNS = ("format", "visibility", "owner", "tags", "created at")
#: What the answer about a history adds to the attributes of an image.
HISTORY = ("history", "unreadable_entries")

T = TypeVar("T")


@click.command()
@click.option("--name", help="Only images with this name.")
@click.option("--status", type=click.Choice(STATUSES), help="Only images in this status.")
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
@wide_option
@no_trunc_option
@service_options
def ls(
    limit: int, *, wide: bool, no_trunc: bool, options: TransferOptions, **filters: str | None
) -> None:
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
        COLUMNS + WIDE_COLUMNS if wide else COLUMNS,
        [_row(record)[: None if wide else len(COLUMNS)] for record in records],
        is_folded=not no_trunc,
    )


@click.command()
@click.argument("image", metavar="IMAGE")
@service_options
def show(image: str, *, options: TransferOptions) -> None:
    """Show all attributes of IMAGE, an id or a name that only one image has, and its history.

    Its owner also sees the projects that it is shared with, and what they answered. The history
    has the last 100 changes, and is shown for the id of a deleted image too.
    """
    facts, history, members = _ask(options, lambda service: _read(service, image))
    if options.as_json:
        print_json({**facts, **history, **({"members": members} if members else {})})
        return
    for name, value in attributes(facts):
        click.echo(f"{printable(name):<20} ", nl=False)
        print_sentence(printable(value), indent=21)
    if members:
        click.echo()
        print_table(
            pluralize(len(members), "member"),
            ("project", "status", "since"),
            [member_row(member) for member in members],
        )
    if history:
        click.echo()
        print_table(
            history_title(history),
            ("at", "action", "user", "project", "address", "details"),
            [history_row(entry) for entry in history["history"]],
        )


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

    All are looked up before the first is deleted, and none is if one is protected. The operator can
    restore a deleted image for a while: until when is printed, if the service says it.
    """
    from imaged.client.errors import ImageProtected

    async def delete(service: ImageApi) -> list[Record]:
        records = [await service.find(image) for image in dict.fromkeys(images)]
        for record in records:
            if record.all.get("protected"):
                raise ImageProtected(record.id)
        for record in records:
            await service.delete(record.id)
            if not options.as_json:
                click.echo(f"{record.id} is deleted.")
        if not options.as_json:
            for record in records:
                _print_restorable(await service.history(record.id))
        return records

    records = _ask(options, delete)
    if options.as_json:
        print_json([{"id": record.id, "name": record.name} for record in records])


def _print_restorable(answer: Mapping[str, Any] | None) -> None:
    """Print how long the deleted image can be restored, and how; nothing if it cannot."""
    due_at = None if answer is None else instant(answer.get("scrub_due_at"))
    if answer is not None and due_at is not None:
        print_sentence(
            f"Until {local_time(due_at)} an operator can restore it: imaged restore {answer['id']}",
            err=True,
        )


def _ask(options: TransferOptions, call: Callable[[ImageApi], Awaitable[T]]) -> T:
    """The result of a call to the service."""
    import anyio

    from imaged.client.image_api import open_image_api

    async def run() -> T:
        async with open_image_api(options.endpoint()) as service:
            return await call(service)

    return anyio.run(run)


async def _read(
    service: ImageApi, image: str
) -> tuple[Mapping[str, Any], Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """The attributes of an image, or what is known of a deleted one; its history, empty if the
    service shows none; and the members of a shared one. Raises NoSuchImage.
    """
    from imaged.client.errors import NoSuchImage

    try:
        record = await service.find(image)
    except NoSuchImage:
        answer = await service.history(image)
        if answer is None:
            raise
        return {name: answer[name] for name in answer if name not in HISTORY}, _history(answer), ()
    is_shared = record.all.get("visibility") == "shared"
    members = await service.members(record.id) if is_shared else ()
    return record.all, _history(await service.history(record.id) or {}), members


def _history(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: answer[name] for name in HISTORY if name in answer}


def _row(record: Record) -> tuple[str, ...]:
    size, created_at = record.size_bytes, instant(record.all.get("created_at"))
    return (
        record.id,
        record.name,
        record.status,
        "" if size is None else approximate_size(size),
        "" if created_at is None else age_in_words(datetime.now(UTC) - created_at),
        *(str(record.all.get(name) or "") for name in ("disk_format", "visibility", "owner")),
        ", ".join(map(str, record.all.get("tags") or ())),
        "" if created_at is None else local_time(created_at),
    )
