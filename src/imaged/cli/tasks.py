"""``imaged tasks``: the tasks of all projects, for operators."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, json_option, verbose_option
from imaged.cli.output import TextTable, moment, print_json, printable
from imaged.cli.watch import WatchedView, watch, watch_option
from imaged.core.task import Task, TaskStatus
from imaged.units import approximate_duration, approximate_size, pluralize

if TYPE_CHECKING:
    from rich.console import RenderableType

    from imaged.config import Config
    from imaged.core.query import TaskQuery
    from imaged.ports.catalog import Catalog

COLUMNS = ("task", "type", "owner", "status", "progress", "made", "why it failed")
BAR_WIDTH = 24  # in characters
MAX_LISTED_TASKS = 1000  # at a time

_task_argument = click.argument("task_id", metavar="TASK")


@click.group()
def tasks() -> None:
    """List tasks, show one, or cancel it: imports, exports, clones and others.

    It works on the configured catalog, with or without running daemons.
    """


@tasks.command("list")
@click.option("--type", "name", metavar="NAME", help="Only tasks of this type, such as import.")
@click.option(
    "--status",
    type=click.Choice([one.value for one in TaskStatus]),
    help="Only tasks in this status.",
)
@click.option("--owner", metavar="PROJECT", help="Only tasks of this project.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, MAX_LISTED_TASKS),
    default=100,
    show_default=True,
    help="The maximum number of tasks.",
)
@watch_option
@config_option
@verbose_option
@json_option
def list_tasks(
    file: Path | None,
    *,
    name: str | None,
    status: str | None,
    owner: str | None,
    limit: int,
    every: timedelta | None,
    as_json: bool,
) -> None:
    """List tasks, the newest first, with owner, progress and reason of failure.

    Filters are combined. With --watch, running tasks have bars; with --json too, each
    reading is one line.
    """
    from imaged.cli.context import run_with_catalog
    from imaged.core.query import TaskQuery

    query = TaskQuery(
        type=name, status=TaskStatus(status) if status else None, owner=owner, limit=limit
    )
    read = partial(_read_page, query)
    if every is not None:
        view = WatchedView(read, _draw, lambda page: task_table(page).print(), _page_json)
        watch(file, every, view, as_json=as_json)
        return
    page = run_with_catalog(file, read)
    if as_json:
        print_json(_page_json(page))
    else:
        task_table(page).print()


@tasks.command("show")
@_task_argument
@watch_option
@config_option
@verbose_option
@json_option
def show_task(task_id: str, every: timedelta | None, file: Path | None, *, as_json: bool) -> int:
    """Show a task: its input, progress and result.

    With --watch, until it has ended; the exit code is then 1 unless it succeeded.
    """
    from imaged.cli.context import run_with_catalog

    read = partial(_read_task, task_id)

    def tell(task: Task) -> None:
        click.echo("\n".join(task_lines(task)))

    if every is not None:
        view = WatchedView(
            read, lambda task: _draw([task]), tell, task_json, lambda task: task.is_final
        )
        seen = watch(file, every, view, as_json=as_json)
        return 0 if seen is None or seen.status is not TaskStatus.FAILURE else EXIT_PROBLEMS
    task = run_with_catalog(file, read)
    if as_json:
        print_json(task_json(task))
    else:
        tell(task)
    return 0


@tasks.command("cancel")
@_task_argument
@config_option
@verbose_option
@json_option
def cancel_task(task_id: str, file: Path | None, *, as_json: bool) -> None:
    """Cancel a task, on any instance.

    It fails at once. Its worker stops with its next renewal (claims.renew_every), and unfinished
    data is deleted. A task that has ended does not change: exit code 1.
    """
    from imaged.cli.context import run_with_catalog

    task = run_with_catalog(file, partial(_cancel, task_id))
    if as_json:
        print_json(task_json(task))
    else:
        click.echo(f"{task.id} is cancelled.")


async def _read_page(query: TaskQuery, catalog: Catalog, _: Config) -> Sequence[Task]:
    return [_as_seen_here(task) for task in await catalog.list_tasks(query)]


async def _read_task(task_id: str, catalog: Catalog, _: Config) -> Task:
    return _as_seen_here(await catalog.get_task(task_id.lower()))


def _as_seen_here(task: Task) -> Task:
    from imaged.core.access import OPERATOR, task_as_seen_by

    return task_as_seen_by(OPERATOR, task)


async def _cancel(task_id: str, catalog: Catalog, config: Config) -> Task:
    from imaged.core.access import OPERATOR
    from imaged.daemon.container import build_task_service

    return await build_task_service(catalog, config).cancel(OPERATOR, task_id.lower())


def _draw(page: Sequence[Task]) -> RenderableType:
    return task_table(page, with_bars=True).draw()


def _page_json(page: Sequence[Task]) -> list[dict[str, object]]:
    return [task_json(task) for task in page]


def task_json(task: Task) -> dict[str, object]:
    """The task as JSON; the input has no secrets."""
    from imaged.api.serialize import progress_json

    return {
        "id": task.id,
        "type": task.type,
        "status": task.status.value,
        "owner": task.owner,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "image_id": task.image_id,
        "attempts": task.attempts,
        "max_attempts": task.max_attempts,
        "progress": progress_json(task.progress),
        "input": dict(task.input),
        "result": None if task.result is None else dict(task.result),
        "message": task.message,
        "created_at": moment(task.created_at),
        "begun_at": moment(task.begun_at),
        "updated_at": moment(task.updated_at),
        "expires_at": moment(task.expires_at),
    }


def task_table(page: Sequence[Task], *, with_bars: bool = False) -> TextTable:
    """A page of tasks as a table; with bars for running tasks, on a terminal."""
    rows = [_task_row(task, with_bar=with_bars) for task in page]
    return TextTable(pluralize(len(page), "task"), COLUMNS, rows)


def task_lines(task: Task) -> Iterator[str]:
    """A task as lines of text."""
    yield f"{task.id}  {task.type}  {task.status}"
    yield f"created by {printable(task.user_id)} of {printable(task.owner)} {_ago(task)}"
    yield f"attempt {task.attempts} of {task.max_attempts}; {_how_far(task) or 'nothing done yet'}"
    if task.image_id:
        yield f"image   {task.image_id}"
    yield f"input   {_json(task.input)}"
    if task.result is not None:
        yield f"result  {_json(task.result)}"
    if task.message:
        yield f"failed  {printable(task.message)}"


def _progress_bar(task: Task) -> RenderableType:
    """A progress bar, which pulses if the total is unknown."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    percent = task.progress.percent if task.progress else None
    cell = Table.grid()
    cell.add_row(ProgressBar(100, percent or 0, width=BAR_WIDTH, pulse=percent is None))
    cell.add_row(Text(printable(_how_far(task))))
    return cell


def _task_row(task: Task, *, with_bar: bool) -> tuple[str | RenderableType, ...]:
    has_bar = with_bar and task.status is TaskStatus.PROCESSING
    return (
        task.id,
        task.type,
        task.owner,
        task.status,
        _progress_bar(task) if has_bar else _how_far(task),
        _ago(task),
        task.message or "",
    )


def _how_far(task: Task) -> str:
    progress = task.progress
    if progress is None:
        return ""
    if progress.done_bytes is None:
        return progress.phase
    done, percent = approximate_size(progress.done_bytes), progress.percent
    if percent is None or progress.total_bytes is None:
        return f"{progress.phase}: {done}"
    return f"{progress.phase}: {done} of {approximate_size(progress.total_bytes)}, {percent} %"


def _ago(task: Task) -> str:
    made_at = task.created_at
    return f"{approximate_duration(datetime.now(UTC) - made_at)} ago" if made_at else ""


def _json(facts: object) -> str:
    return json.dumps(facts, sort_keys=True)
