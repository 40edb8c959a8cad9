"""``imaged status``: whether all is well, and the summary of the catalog."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli.options import config_option, json_option, verbose_option
from imaged.cli.output import moment, print_json, print_sentence
from imaged.cli.status_text import (
    FACT_WIDTH,
    Status,
    doomed_blobs,
    fact_lines,
    problem_text,
    request_counts,
    restorable_until,
    status_tables,
    verdict_line,
)
from imaged.cli.tables import hanging, print_tables
from imaged.cli.watch import WatchedView, watch, watch_option
from imaged.core.summary import Summary
from imaged.core.verdict import (
    Pace,
    find_problems,
    last_comparison,
    last_reload,
    store_spaces,
)

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from imaged.config import Config
    from imaged.core.quota import Resource
    from imaged.ports.catalog import Catalog
    from imaged.ports.image_catalog import AccountCatalog

PAGE_LENGTH = 500  # accounts read at once


@click.command()
@watch_option
@config_option
@verbose_option
@json_option
def status(file: Path | None, *, every: timedelta | None, as_json: bool) -> None:
    """Show whether all is well and what is not, the instances, their work, and what waits.

    It reads the catalog, where instances report the rest, and no store; if backup.folder is set, it
    also tells how old the newest backup is, and warns where none is recent. With --watch and
    --json, each reading is one line.

    Exit code 0: the catalog was read, whatever the first line says; 1: it does not answer.
    imaged doctor has exit codes for what it finds.
    """
    from imaged.cli.context import run_with_catalog

    if every is not None:
        watch(file, every, WatchedView(read_status, draw, _print, status_json), as_json=as_json)
        return
    seen = run_with_catalog(file, read_status)
    if as_json:
        print_json(status_json(seen))
    else:
        _print(seen)


async def read_status(catalog: Catalog, config: Config) -> Status:
    """Read the summary and judge it. If backups are watched, one that is too old is a warning."""
    from anyio import to_thread

    from imaged.daemon.backup_files import NEVER, backup_warning, time_of_newest_backup

    summary, folder, backup_at = await catalog.summarize(), config.backup.folder, None
    if folder is not None:
        why = await to_thread.run_sync(backup_warning, folder)
        summary = replace(summary, warnings=[*summary.warnings, *filter(None, [why])])
        found_at = await time_of_newest_backup(folder)
        backup_at = None if found_at == NEVER else found_at
    pace = Pace(lease=config.claims.lease, comparison=config.reconcile.every)
    return Status(
        summary,
        find_problems(summary, pace),
        scrub_delay=config.scrubber.delay,
        watches_backups=folder is not None,
        backup_at=backup_at,
        full_projects=await _full_projects(catalog, config),
    )


async def _full_projects(
    catalog: AccountCatalog, config: Config
) -> Mapping[str, Sequence[Resource]] | None:
    """The projects that have reached limits. None with limits in Keystone, which would have to be
    asked for each project: `imaged quota --full` does.
    """
    from imaged.core.quota import full_resources, limits_with_defaults
    from imaged.daemon.settings import default_limits

    if config.quotas.source == "keystone":
        return None
    defaults, found = default_limits(config), dict[str, Sequence["Resource"]]()
    after: str | None = None
    while page := await catalog.list_accounts(after, PAGE_LENGTH):
        for account in page:
            if full := full_resources(account, limits_with_defaults(account, defaults)):
                found[account.owner] = full
        after = page[-1].owner
    return found


def _print(seen: Status) -> None:
    click.secho(verdict_line(seen.problems), fg="red" if seen.problems else "green", bold=True)
    for line in fact_lines(seen):
        print_sentence(line, indent=FACT_WIDTH)
    print_tables(status_tables(seen.summary))


def draw(seen: Status) -> Group:
    """The reading for a screen of rich."""
    from rich.console import Group
    from rich.text import Text

    style = "bold red" if seen.problems else "bold green"
    drawn: list[RenderableType] = [Text(verdict_line(seen.problems), style)]
    width = shutil.get_terminal_size().columns
    drawn += [Text(hanging(line, width, FACT_WIDTH)) for line in fact_lines(seen)]
    for listing in status_tables(seen.summary):
        drawn.append(Text(listing.title))
        if listing.rows:
            drawn += [listing.draw(), Text()]
    return Group(*drawn)


def status_json(seen: Status) -> dict[str, Any]:
    """The reading as JSON: the verdict, then the numbers."""
    return {
        "is_well": not seen.problems,
        "problems": [problem_text(problem) for problem in seen.problems],
        "last_backup_at": moment(seen.backup_at),
        "restorable_until": moment(restorable_until(seen)),
        "full_projects": seen.full_projects,
        **summary_json(seen.summary),
    }


def summary_json(summary: Summary) -> dict[str, Any]:
    """The summary as JSON; times are by the catalog's clock."""
    at, doomed = summary.at, doomed_blobs(summary)
    compared_at, comparison = last_comparison(summary)
    reloaded_at, reload = last_reload(summary)
    return {
        "at": moment(at),
        "instances": [
            {
                "id": instance.id,
                "version": instance.version,
                "roles": list(instance.roles),
                "since": moment(instance.started_at),
                "seen_at": moment(instance.seen_at),
                "troubles": list(instance.troubles),
            }
            for instance in summary.instances
        ],
        "holdings": [
            {
                "instance": holding.instance,
                "image_id": holding.image_id,
                "status": holding.status.value,
                "since": moment(holding.since),
                "lease_left_s": round((holding.lease_until - at).total_seconds(), 3),
            }
            for holding in summary.held_images
        ],
        "task_holdings": [
            {
                "instance": holding.instance,
                "task_id": holding.task_id,
                "type": holding.type,
                "owner": holding.owner,
                "since": moment(holding.since),
                "lease_left_s": round((holding.lease_until - at).total_seconds(), 3),
            }
            for holding in summary.held_tasks
        ],
        "tasks": [
            {
                "type": count.type,
                "status": count.status.value,
                "tasks": count.tasks,
                "oldest_at": moment(count.oldest_at),
            }
            for count in summary.tasks
        ],
        "store_spaces": {name: asdict(space) for name, space in store_spaces(summary).items()},
        "missing_blobs": comparison.missing_blobs,
        "compared_at": moment(compared_at),
        "reloaded_at": moment(reloaded_at),
        "is_reload_rejected": reload.is_reload_rejected,
        "requests": asdict(request_counts(summary)),
        "damaged_images": summary.damaged,
        "damaged": [asdict(one) for one in summary.damaged_images],
        "warnings": list(summary.warnings),
        "notifications": {
            "waiting": summary.outbox.events,
            "failing": summary.outbox.failing,
            "oldest_at": moment(summary.outbox.oldest_at),
        },
        "images": {status.value: count for status, count in sorted(summary.images.items())},
        "stores": [
            {
                "store": usage.store,
                "state": usage.state.value,
                "blobs": usage.blobs,
                "bytes": usage.size_bytes,
            }
            for usage in summary.blob_usage
        ],
        "scrubber": {
            "restorable": summary.restorable,
            "restorable_bytes": summary.restorable_bytes,
            "doomed": sum(usage.blobs for usage in doomed),
            "doomed_bytes": sum(usage.size_bytes for usage in doomed),
            "oldest_due_at": moment(summary.oldest_due_at),
            "failing": sum(usage.failing for usage in doomed),
        },
    }
