"""``imaged reconcile``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, json_option, no_trunc_option, verbose_option
from imaged.cli.output import print_failure, print_json, print_sentence
from imaged.cli.tables import TextTable, print_table, print_tables
from imaged.units import pluralize

if TYPE_CHECKING:
    from imaged.config import Config
    from imaged.core.quota import Recount
    from imaged.daemon.drivers import Drivers
    from imaged.services.reconciler import ReconcileReport


@click.command()
@config_option
@verbose_option
@click.option(
    "--apply",
    is_flag=True,
    help="Doom strays and correct usage; without it, nothing is changed.",
)
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
    them after reconcile.quarantine. Missing bytes of images are listed. The usage of projects is
    compared with their images, too: --apply corrects it.
    """
    from imaged.cli.context import run_with_drivers
    from imaged.daemon.container import build_reconcile
    from imaged.services.account_reconciler import AccountReconciler

    async def compare(
        drivers: Drivers, config: Config
    ) -> tuple[ReconcileReport, Sequence[Recount]]:
        reconciler = build_reconcile(drivers, config)
        report = await reconciler.run(apply=apply, max_strays=max_delete)
        return report, await AccountReconciler(drivers.catalog).run(apply=apply)

    report, recounts = run_with_drivers(file, compare)
    if as_json:
        wrong = [_recount_facts(recount) for recount in recounts]
        print_json({**asdict(report), "braked": report.braked, "wrong_accounts": wrong})
    else:
        _print(report, apply=apply, is_folded=not no_trunc)
        _print_recounts(recounts, apply=apply, is_folded=not no_trunc)
    is_left = report.braked if apply else recounts
    return EXIT_PROBLEMS if report.missing or report.failed or is_left else 0


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


def _print_recounts(recounts: Sequence[Recount], *, apply: bool, is_folded: bool) -> None:
    if not recounts:
        print_sentence("The usage of all projects is right.")
        return
    rows = [
        (recount.account.owner, name, str(used), str(recount.counted[name]))
        for recount in recounts
        for name, used in recount.account.usage.items()
        if used != recount.counted[name]
    ]
    title = f"The usage of {pluralize(len(recounts), 'project')} was wrong"
    print_table(title, ("project", "resource", "usage", "of its images"), rows, is_folded=is_folded)
    print_sentence("It is corrected." if apply else "Nothing was changed. --apply corrects it.")


def _recount_facts(recount: Recount) -> dict[str, object]:
    return {
        "project": recount.account.owner,
        "usage": dict(recount.account.usage),
        "counted": dict(recount.counted),
    }
