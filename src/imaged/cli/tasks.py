"""``imaged tasks``: the tasks of all projects, for operators."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import (
    config_option,
    json_option,
    no_trunc_option,
    verbose_option,
    wide_option,
)
from imaged.cli.output import local_time, moment, print_json, printable
from imaged.cli.tables import TextTable
from imaged.cli.watch import WatchedView, watch, watch_option
from imaged.core.task import Task, TaskStatus
from imaged.units import age_in_words, approximate_size, approximate_sizes, pluralize

if TYPE_CHECKING:
    from rich.console import RenderableType

    from imaged.config import Config
    from imaged.core.query import TaskQuery
    from imaged.ports.catalog import Catalog

COLUMNS = ("task", "type", "status", "age", "details")
WIDE_COLUMNS = (*COLUMNS[:-1], "owner", "image", "attempts", COLUMNS[-1])
BAR_WIDTH = 10  # in characters
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
@wide_option
@no_trunc_option
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
    wide: bool,
    no_trunc: bool,
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

    def tell(page: Sequence[Task]) -> None:
        task_table(page, wide=wide).print(is_folded=not no_trunc)

    def draw(page: Sequence[Task]) -> RenderableType:
        return task_table(page, wide=wide, with_bars=True).draw()

    if every is not None:
        watch(file, every, WatchedView(read, draw, tell, _page_json), as_json=as_json)
        return
    page = run_with_catalog(file, read)
    if as_json:
        print_json(_page_json(page))
    else:
        tell(page)


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
            read,
            lambda task: task_table([task], with_bars=True).draw(),
            tell,
            task_json,
            lambda task: task.is_final,
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
    from imaged.core.access import OPERATOR
    from imaged.core.task_access import task_as_seen_by

    return task_as_seen_by(OPERATOR, task)


async def _cancel(task_id: str, catalog: Catalog, config: Config) -> Task:
    from imaged.core.access import OPERATOR
    from imaged.daemon.container import build_task_service

    return await build_task_service(catalog, config).cancel(OPERATOR, task_id.lower())


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


def task_table(page: Sequence[Task], *, wide: bool = False, with_bars: bool = False) -> TextTable:
    """A page of tasks as a table; ``with_bars``: for running tasks, on a terminal."""
    rows = [_task_row(task, wide=wide, with_bar=with_bars) for task in page]
    return TextTable(pluralize(len(page), "task"), WIDE_COLUMNS if wide else COLUMNS, rows)


def task_lines(task: Task) -> Iterator[str]:
    """A task as lines of text."""
    created = (
        "" if task.created_at is None else f" {local_time(task.created_at)} ({_age(task)} ago)"
    )
    yield f"{task.id}  {task.type}  {task.status}"
    yield f"created by {printable(task.user_id)} of {printable(task.owner)}{created}"
    yield f"attempt {task.attempts} of {task.max_attempts}; {_how_far(task) or 'nothing done yet'}"
    if task.image_id:
        yield f"image   {task.image_id}"
    yield from _fact_lines("input", task.input)
    yield from _fact_lines("result", task.result or {})
    if task.message:
        yield f"failed  {printable(task.message)}"


def _progress_bar(task: Task) -> str:
    """A bar; nothing while the total is unknown."""
    percent = task.progress.percent if task.progress else None
    if percent is None:
        return ""
    done = BAR_WIDTH * percent // 100
    return f"{'━' * done}{'╌' * (BAR_WIDTH - done)} "


def _task_row(task: Task, *, wide: bool, with_bar: bool) -> tuple[str, ...]:
    bar = _progress_bar(task) if with_bar and task.status is TaskStatus.PROCESSING else ""
    more = (task.owner, task.image_id or "", f"{task.attempts} of {task.max_attempts}")
    return (
        task.id,
        task.type,
        task.status,
        _age(task),
        *(more if wide else ()),
        bar + (task.message or _how_far(task)),
    )


def _how_far(task: Task) -> str:
    progress = task.progress
    if progress is None:
        return ""
    if progress.done_bytes is None:
        return progress.phase
    if progress.percent is None or progress.total_bytes is None:
        return f"{progress.phase}: {approximate_size(progress.done_bytes)}"
    sizes = approximate_sizes(progress.done_bytes, progress.total_bytes)
    return f"{progress.phase}: {sizes}, {progress.percent} %"


def _age(task: Task) -> str:
    made_at = task.created_at
    return age_in_words(datetime.now(UTC) - made_at) if made_at else ""


def _fact_lines(title: str, facts: Mapping[str, object]) -> Iterator[str]:
    """A line for each fact."""
    for name, fact in sorted(facts.items()):
        yield f"{title:<7} {name} = {json.dumps(fact)}"
