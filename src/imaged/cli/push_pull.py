"""``imaged push`` and ``imaged pull``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from imaged.cli.completion import complete_from, complete_store
from imaged.cli.options import F
from imaged.cli.output import print_json, print_sentence, printable
from imaged.cli.transfers import TransferOptions, transfer_options, transfer_summary
from imaged.core.attributes import NOTICE
from imaged.core.disk_format import CONTAINER_FORMATS, DISK_FORMATS

if TYPE_CHECKING:
    from imaged.client.http_session import Endpoint
    from imaged.client.image_api import Record
    from imaged.client.pull import PullResult
    from imaged.client.push import PushRequest, PushResult
    from imaged.client.transfer import Progress

PIPE = Path("-")
VISIBILITIES = ("private", "community", "shared", "public")


class Property(click.ParamType[tuple[str, str]]):
    """KEY=VALUE."""

    name = "property"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the name and the value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not name or not equals:
            self.fail(f"{value!r} must be KEY=VALUE", param, ctx)
        return name, text


def property_option(help_text: str) -> Callable[[F], F]:
    """``--property KEY=VALUE``, several times."""
    return click.option(
        "-p",
        "--property",
        "properties",
        metavar="KEY=VALUE",
        type=Property(),
        multiple=True,
        help=help_text,
    )


@click.command()
@click.argument(
    "source", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@click.option("--name", help="Default: the file's name.")
@click.option(
    "--disk-format",
    metavar="FORMAT",
    shell_complete=complete_from(DISK_FORMATS),
    help="One that the service allows, such as qcow2. Default: guessed; the guess is printed.",
)
@click.option(
    "--container-format",
    metavar="FORMAT",
    shell_complete=complete_from(CONTAINER_FORMATS),
    help="Default: guessed.",
)
@click.option(
    "--visibility", type=click.Choice(VISIBILITIES), help="Which other projects may see it."
)
@click.option("--tag", "tags", multiple=True, help="A tag; can be given several times.")
@property_option("A property; can be given several times.")
@click.option(
    "--store",
    shell_complete=complete_store,
    help="The store for the bytes; default: the service's.",
)
@click.option(
    "--image",
    "image_id",
    metavar="ID",
    help="Send the data of an existing image that waits for it; other options change it.",
)
@click.option(
    "--replace",
    "replaces",
    is_flag=True,
    help="Send FILE although the broken upload into the image was of another file.",
)
@transfer_options
def push(
    source: Path,
    *,
    name: str | None,
    disk_format: str | None,
    container_format: str | None,
    visibility: str | None,
    tags: tuple[str, ...],
    properties: tuple[tuple[str, str], ...],
    store: str | None,
    image_id: str | None,
    replaces: bool,
    options: TransferOptions,
) -> None:
    """Upload FILE as an image, and print its id; - is standard input.

    Digests of sent and stored bytes are compared. After a broken connection the upload is repeated
    from the start; if all tries fail, the image stays, and --image ID continues with it.
    """
    from imaged.client.push import PushRequest

    is_stream = source == Path("-")
    default_name = None if is_stream or image_id is not None else source.name
    given = {
        "name": name or default_name,
        "disk_format": disk_format,
        "container_format": container_format,
        "visibility": visibility,
        "tags": list(tags) or None,
    }
    attributes: Mapping[str, object] = {
        **{key: value for key, value in given.items() if value is not None},
        **dict(properties),
    }
    wish = PushRequest(attributes, image_id, store, options.tries, replaces=replaces)
    endpoint = options.endpoint()
    with options.progress(default_name or "image") as progress:
        begun = monotonic()
        done = _push(endpoint, source, wish, progress)
        took = timedelta(seconds=monotonic() - begun)
    if options.shows_progress:
        size = done.record.size_bytes or 0
        print_sentence(transfer_summary(size, took, done.verified_by, done.tries), err=True)
    notice = done.record.all.get(NOTICE)
    if isinstance(notice, str) and options.shows_progress:
        print_sentence(printable(notice), err=True)
    if options.as_json:
        print_json(_push_facts(done))
    else:
        click.echo(done.record.id)


def _push(endpoint: Endpoint, path: Path, wish: PushRequest, progress: Progress) -> PushResult:
    import anyio

    from imaged.client.image_api import open_image_api
    from imaged.client.push import Push
    from imaged.client.upload_source import open_source

    async def run() -> PushResult:
        with open_source(path) as source:
            async with open_image_api(endpoint) as service:
                return await Push(service, source, wish, progress).run()

    return anyio.run(run)


def _push_facts(done: PushResult) -> dict[str, Any]:
    record = done.record
    return {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "size_bytes": record.size_bytes,
        "disk_format": record.all.get("disk_format"),
        "container_format": record.all.get("container_format"),
        "guessed": done.formats.why if done.formats and done.formats.why else None,
        "digests": dict(record.digests),
        "verified_by": done.verified_by,
        "tries": done.tries,
        "notice": record.all.get(NOTICE),
    }


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file, a folder, or - for standard output; default: the image's name, in this folder.",
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@transfer_options
def pull(
    image: str,
    *,
    output: Path | None,
    force: bool,
    options: TransferOptions,
) -> None:
    """Download IMAGE, an id or a name that only one image has, and print the file's name.

    The file appears when it is complete and its digest is right. A broken download continues, also
    if you run this again: from FILE.….part, if the image's data is the same.
    """
    endpoint = options.endpoint()
    with options.progress(image) as progress:
        begun = monotonic()
        record, place, done = _pull(endpoint, image, output, options.tries, progress, force=force)
        took = timedelta(seconds=monotonic() - begun)
    if options.shows_progress:
        size = (record.size_bytes or 0) - done.resumed_at_bytes
        print_sentence(transfer_summary(size, took, done.verified_by, done.tries), err=True)
    is_pipe = place == PIPE
    if options.as_json:
        print_json(_pull_facts(record, place, done), to_stderr=is_pipe)
    elif not is_pipe:
        click.echo(place)


def _pull(
    endpoint: Endpoint,
    image: str,
    output: Path | None,
    tries: int,
    progress: Progress,
    *,
    force: bool,
) -> tuple[Record, Path, PullResult]:
    import anyio

    from imaged.client.download_target import StandardOutput, local_path, open_part
    from imaged.client.image_api import open_image_api
    from imaged.client.pull import Pull

    async def run() -> tuple[Record, Path, PullResult]:
        async with open_image_api(endpoint) as service:
            record = await service.find(image)
            work = Pull(service, record, progress, tries)
            if output == PIPE:
                return record, PIPE, await work.run(StandardOutput())
            place = local_path(record, output)
            with open_part(place, record, overwrite=force) as part:
                return record, place, await work.run(part)

    return anyio.run(run)


def _pull_facts(record: Record, place: Path, done: PullResult) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "file": str(place),
        "size_bytes": record.size_bytes,
        "verified_by": done.verified_by,
        "resumed_at_bytes": done.resumed_at_bytes,
        "tries": done.tries,
    }
