"""``imaged reconcile``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, json_option, no_trunc_option, verbose_option
from imaged.cli.output import print_failure, print_json, print_sentence
from imaged.cli.tables import TextTable, print_tables
from imaged.units import pluralize

if TYPE_CHECKING:
    from imaged.services.reconciler import ReconcileReport


@click.command()
@config_option
@verbose_option
@click.option("--apply", is_flag=True, help="Doom the strays; without it, nothing is changed.")
@click.option(
    "--max-delete",
    metavar="N",
    type=click.IntRange(min=0),
    help="Doom up to N strays; replaces reconcile.max_strays and max_share.",
)
@no_trunc_option
@json_option
def reconcile(
    file: Path | None, *, apply: bool, max_delete: int | None, no_trunc: bool, as_json: bool
) -> int:
    """Compare catalog and stores, in both directions.

    Bytes without a row in the catalog are strays: --apply dooms them, and the scrubber deletes
    them after reconcile.quarantine. Missing bytes of images are listed.
    """
    from imaged.cli.context import run_with_drivers
    from imaged.daemon.container import build_reconcile

    report = run_with_drivers(
        file,
        lambda drivers, config: build_reconcile(drivers, config).run(
            apply=apply, max_strays=max_delete
        ),
    )
    if as_json:
        print_json({**asdict(report), "braked": report.braked})
    else:
        _print(report, apply=apply, is_folded=not no_trunc)
    is_braked = apply and report.braked
    return EXIT_PROBLEMS if report.missing or report.failed or is_braked else 0


def _print(report: ReconcileReport, *, apply: bool, is_folded: bool) -> None:
    for noun, which, found in (
        ("blob", "without a row in the catalog", report.strays),
        ("missing blob", "that an image needs", report.missing),
    ):
        if found:
            table = TextTable(
                f"{pluralize(len(found), noun)} {which}",
                ("key", "store"),
                [(one.key, one.store) for one in found],
            )
            print_tables([table], is_folded=is_folded)
    print_sentence(
        f"{pluralize(report.keys, 'blob')} compared: {pluralize(len(report.strays), 'stray')}, "
        f"{report.doomed} doomed, {len(report.missing)} missing."
    )
    if report.strays and not apply:
        print_sentence("Nothing was changed. --apply dooms the strays.")
    for store, why in report.failed.items():
        print_failure(f"The store {store} was not compared: it {why}.")
    if report.braked:
        print_failure(
            f"Too many strays in {', '.join(report.braked_stores)}: nothing is "
            "doomed there. Is catalog.url right, and was the catalog restored from a backup? To "
            f"delete them: imaged reconcile --apply --max-delete {len(report.strays)}"
        )
