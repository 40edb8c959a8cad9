"""``imaged pull``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from imaged.cli.output import print_json, print_sentence
from imaged.cli.transfers import TransferOptions, transfer_options, transfer_summary

if TYPE_CHECKING:
    from imaged.client.http_session import Endpoint
    from imaged.client.image_api import Record
    from imaged.client.pull import PullResult
    from imaged.client.transfer import Progress

PIPE = Path("-")


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
        print_json(_facts(record, place, done), to_stderr=is_pipe)
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


def _facts(record: Record, place: Path, done: PullResult) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "file": str(place),
        "size_bytes": record.size_bytes,
        "verified_by": done.verified_by,
        "resumed_at_bytes": done.resumed_at_bytes,
        "tries": done.tries,
    }
