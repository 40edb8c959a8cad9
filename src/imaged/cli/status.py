"""``imaged status``: the summary of the catalog, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imaged.cli.options import config_option, json_option, verbose_option
from imaged.cli.output import TextTable, moment, print_json
from imaged.cli.watch import WatchedView, watch, watch_option
from imaged.core.blob import BlobState
from imaged.core.summary import BlobUsage, HeldImage, HeldTask, Summary
from imaged.core.task import TaskStatus
from imaged.units import approximate_duration, approximate_size, pluralize

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from imaged.config import Config
    from imaged.ports.catalog import StatusCatalog

UNKNOWN = "?"


@click.command()
@watch_option
@config_option
@verbose_option
@json_option
def status(file: Path | None, *, every: timedelta | None, as_json: bool) -> None:
    """Show the instances, their work, waiting tasks, and blobs to be deleted.

    It reads the catalog, and no store; if backup.folder is set, it warns where no backup is recent.
    Exit code 1: the catalog does not answer.
    With --watch and --json, each reading is one line.
    """
    from imaged.cli.context import run_with_catalog

    if every is not None:
        watch(file, every, WatchedView(_summarize, _draw, _print, summary_json), as_json=as_json)
        return
    summary = run_with_catalog(file, _summarize)
    if as_json:
        print_json(summary_json(summary))
    else:
        _print(summary)


async def _summarize(catalog: StatusCatalog, config: Config) -> Summary:
    """The summary, with a warning if backups are watched and there is no recent one."""
    from anyio import to_thread

    from imaged.daemon.backup_files import backup_warning

    summary, folder = await catalog.summarize(), config.backup.folder
    why = None if folder is None else await to_thread.run_sync(backup_warning, folder)
    return replace(summary, warnings=[*summary.warnings, *filter(None, [why])])


def _print(summary: Summary) -> None:
    for listing in status_tables(summary):
        listing.print()
    click.echo(_waiting(summary))


def _draw(summary: Summary) -> Group:
    from rich.console import Group
    from rich.text import Text

    tables: list[RenderableType] = []
    for listing in status_tables(summary):
        tables.append(Text(listing.title))
        if listing.rows:
            tables.append(listing.draw())
    return Group(*tables, Text(_waiting(summary)))


def summary_json(summary: Summary) -> dict[str, Any]:
    """The summary as JSON; times are by the catalog's clock."""
    at, doomed = summary.at, _doomed(summary)
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
        "damaged_images": summary.damaged,
        "warnings": list(summary.warnings),
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


def status_tables(summary: Summary) -> Iterator[TextTable]:
    """The summary as tables."""
    at = summary.at
    yield TextTable(
        pluralize(len(summary.instances), "instance"),
        ("instance", "version", "roles", "for", "last seen"),
        [
            (
                instance.id,
                instance.version,
                ", ".join(instance.roles),
                _since(instance.started_at, at),
                f"{_since(instance.seen_at, at)} ago",
            )
            for instance in summary.instances
        ],
    )
    troubles = [(one.id, trouble) for one in summary.instances for trouble in one.troubles]
    if troubles:
        yield TextTable(pluralize(len(troubles), "trouble"), ("instance", "what it says"), troubles)
    yield TextTable(
        f"{pluralize(len(summary.held_images), 'image')} being worked on",
        ("instance", "image", "status", "for", "lease left"),
        [(one.instance, one.image_id, one.status, *_held(one, at)) for one in summary.held_images],
    )
    yield TextTable(
        f"{pluralize(len(summary.held_tasks), 'task')} being worked on",
        ("instance", "task", "type", "owner", "for", "lease left"),
        [
            (one.instance, one.task_id, one.type, one.owner, *_held(one, at))
            for one in summary.held_tasks
        ],
    )
    waiting_tasks = [count for count in summary.tasks if count.status is TaskStatus.PENDING]
    yield TextTable(
        f"{pluralize(sum(count.tasks for count in waiting_tasks), 'task')} waiting",
        ("type", "tasks", "oldest"),
        [(one.type, str(one.tasks), _since(one.oldest_at, at)) for one in waiting_tasks],
    )
    damaged = f", {summary.damaged} of them damaged" if summary.damaged else ""
    yield TextTable(
        pluralize(sum(summary.images.values()), "image") + damaged,
        ("status", "images"),
        [(status, str(count)) for status, count in sorted(summary.images.items())],
    )
    yield TextTable(
        pluralize(sum(usage.blobs for usage in summary.blob_usage), "blob"),
        ("store", "state", "blobs", "size"),
        [
            (usage.store, usage.state, str(usage.blobs), approximate_size(usage.size_bytes))
            for usage in summary.blob_usage
        ],
    )


def _waiting(summary: Summary) -> str:
    """Warnings, and the work that waits for the scrubber."""
    warnings = [f"Warning: {warning}." for warning in summary.warnings]
    return "\n".join([*warnings, _waiting_for_scrubber(summary)])


def _waiting_for_scrubber(summary: Summary) -> str:
    doomed, due_at = _doomed(summary), summary.oldest_due_at
    size, failing = sum(one.size_bytes for one in doomed), sum(one.failing for one in doomed)
    restorable = pluralize(summary.restorable, "deleted image")
    unneeded = pluralize(sum(one.blobs for one in doomed), "blob")
    sentence = (
        f"For the scrubber: {restorable} that can still be restored "
        f"({approximate_size(summary.restorable_bytes)}); "
        f"{unneeded} that no image needs ({approximate_size(size)}), "
        f"{failing} of them with failures"
    )
    if due_at is None:
        return f"{sentence}."
    if due_at > summary.at:
        return f"{sentence}; the first is due in {_left(due_at - summary.at)}."
    return f"{sentence}; the first is due for {_since(due_at, summary.at)}."


def _doomed(summary: Summary) -> list[BlobUsage]:
    return [usage for usage in summary.blob_usage if usage.state is BlobState.DOOMED]


def _since(moment: datetime | None, at: datetime) -> str:
    return UNKNOWN if moment is None else approximate_duration(at - moment)


def _held(holding: HeldImage | HeldTask, at: datetime) -> tuple[str, str]:
    """Since when, and how long the lease still lasts."""
    return _since(holding.since, at), _left(holding.lease_until - at)


def _left(duration: timedelta) -> str:
    return "over" if duration.total_seconds() < 0 else approximate_duration(duration)
