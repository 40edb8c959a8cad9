"""``imaged scrub``. It acts without asking: it does only what the daemon does anyway."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, json_option, no_trunc_option, verbose_option
from imaged.cli.output import (
    local_time,
    moment,
    print_failure,
    print_json,
    print_sentence,
    tells_failed_start,
)
from imaged.cli.tables import TextTable, print_tables
from imaged.units import approximate_size, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imaged.config import Config
    from imaged.core.blob import Blob
    from imaged.core.image import Image
    from imaged.daemon.drivers import Drivers
    from imaged.services.scrubber import ScrubPreview, ScrubReport


@click.command()
@config_option
@verbose_option
@click.option("--once", is_flag=True, help="Delete everything that is due, and exit.")
@click.option("--dry-run", is_flag=True, help="List what would be deleted now, and change nothing.")
@click.option(
    "--confirm-clock",
    is_flag=True,
    help="Confirm that the catalog's clock is right, after it stepped; then exit.",
)
@no_trunc_option
@json_option
@tells_failed_start
def scrub(
    file: Path | None,
    *,
    once: bool,
    dry_run: bool,
    confirm_clock: bool,
    no_trunc: bool,
    as_json: bool,
) -> int:
    """Delete due images and blobs: periodically until a signal, or once.

    Any number may run side by side, and beside daemons. --json alone is log.format = "json".
    """
    if confirm_clock:
        _confirm_clock(file)
        return 0
    if dry_run:
        _print_preview(_preview(file), as_json=as_json, is_folded=not no_trunc)
        return 0
    if once:
        report, troubles = _run_once(file)
        _print_report(report, as_json=as_json)
        for trouble in troubles:
            print_failure(trouble)
        return EXIT_PROBLEMS if report.failed or troubles else 0
    from imaged.cli.serve import COMMAND_ROLES, run_daemon

    run_daemon(file, roles=COMMAND_ROLES["scrub"], as_json=as_json)
    return 0


def _preview(file: Path | None) -> ScrubPreview:
    from imaged.cli.context import run_with_drivers
    from imaged.daemon.container import build_scrubber

    return run_with_drivers(file, lambda drivers, config: build_scrubber(drivers, config).preview())


def _run_once(file: Path | None) -> tuple[ScrubReport, Sequence[str]]:
    """The report, and the reasons why more could not be deleted."""
    from imaged.cli.context import run_with_drivers
    from imaged.daemon.container import build_clock_guard, build_scrubber

    async def run(drivers: Drivers, config: Config) -> tuple[ScrubReport, Sequence[str]]:
        clock = build_clock_guard(drivers.catalog, config)
        scrubber = build_scrubber(drivers, config, clock)
        report = await scrubber.run_due()
        return report, [*clock.troubles, *scrubber.postponed.troubles]

    return run_with_drivers(file, run)


def _confirm_clock(file: Path | None) -> None:
    from imaged.cli.context import run_with_catalog
    from imaged.daemon.container import build_clock_guard

    run_with_catalog(file, lambda catalog, config: build_clock_guard(catalog, config).confirm())
    print_sentence("The catalog's clock is trusted again: deletion continues.")


def _print_preview(preview: ScrubPreview, *, as_json: bool, is_folded: bool) -> None:
    if as_json:
        print_json(
            {
                "images": [_image_facts(image) for image in preview.images],
                "blobs": [_blob_facts(blob) for blob in preview.blobs],
                "later": [_blob_facts(blob) for blob in preview.later],
                "waits_for_clock": preview.waits_for_clock,
            }
        )
        return
    print_tables(_preview_tables(preview), is_folded=is_folded)
    for sentence in _postponed(preview):
        print_sentence(sentence)


def _preview_tables(preview: ScrubPreview) -> Iterator[TextTable]:
    yield TextTable(
        f"{pluralize(len(preview.images), 'deleted image')} whose delay is over",
        ("image", "name", "owner", "size"),
        [
            (image.id, image.name or "", image.owner, approximate_size(image.charge_bytes))
            for image in preview.images
        ],
    )
    yield TextTable(
        f"{pluralize(len(preview.blobs), 'blob')} that no image needs",
        ("key", "store", "size", "due", "failures", "last error"),
        [
            (
                blob.key,
                blob.store,
                approximate_size(blob.size_bytes),
                "" if blob.due_at is None else local_time(blob.due_at),
                str(blob.failures),
                blob.last_error or "",
            )
            for blob in preview.blobs
        ],
    )


def _postponed(preview: ScrubPreview) -> Iterator[str]:
    """Sentences about what would not be deleted now."""
    if preview.later:
        due_at = preview.later[0].due_at
        when = "" if due_at is None else f", the first at {local_time(due_at)}"
        yield f"{pluralize(len(preview.later), 'blob')} will be due later{when}."
    failed = [blob for blob in preview.later if blob.last_error]
    if failed:
        yield (
            f"{len(failed)} of them could not be deleted before: {failed[0].key} in "
            f"{failed[0].store}, for example: {failed[0].last_error}"
        )
    if preview.waits_for_clock:
        yield (
            "The catalog's clock stepped: nothing is deleted until that is waited out, or "
            "confirmed by `imaged scrub --confirm-clock`."
        )


def _image_facts(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "name": image.name,
        "owner": image.owner,
        "bytes": image.charge_bytes,
    }


def _blob_facts(blob: Blob) -> dict[str, Any]:
    return {
        "store": blob.store,
        "key": blob.key,
        "bytes": blob.size_bytes,
        "due_at": moment(blob.due_at),
        "failures": blob.failures,
        "last_error": blob.last_error,
    }


def _print_report(report: ScrubReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    print_sentence(
        f"{pluralize(report.expired, 'image')} expired, "
        f"{pluralize(report.deleted, 'blob')} deleted "
        f"({pluralize(report.deleted_bytes, 'byte')}), {report.failed} put off, "
        f"{pluralize(report.buried, 'record')} buried."
    )
