"""``imaged tasks``: the tasks of all projects, for operators."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, json_option, print_json
from imaged.cli.watch import WatchedView, watch, watch_option
from imaged.core.task import Task, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imaged.config import Config
    from imaged.core.task_query import TaskQuery
    from imaged.ports.catalog import Catalog

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
    from imaged.cli.task_view import draw_tasks, task_json, task_table
    from imaged.core.task_query import TaskQuery

    query = TaskQuery(
        type=name, status=TaskStatus(status) if status else None, owner=owner, limit=limit
    )
    read = partial(_read_page, query)
    if every is not None:
        view = WatchedView(read, draw_tasks, lambda page: task_table(page).print(), _tasks_json)
        watch(file, every, view, as_json=as_json)
        return
    page = run_with_catalog(file, read)
    if as_json:
        print_json([task_json(task) for task in page])
    else:
        task_table(page).print()


@tasks.command("show")
@_task_argument
@watch_option
@config_option
@json_option
def show_task(task_id: str, every: timedelta | None, file: Path | None, *, as_json: bool) -> int:
    """Show a task: its input, progress and result.

    With --watch, until it has ended; the exit code is then 1 unless it succeeded.
    """
    from imaged.cli.context import run_with_catalog
    from imaged.cli.task_view import draw_tasks, task_json, task_lines

    read = partial(_read_task, task_id)

    def tell(task: Task) -> None:
        click.echo("\n".join(task_lines(task)))

    if every is not None:
        view = WatchedView(
            read, lambda task: draw_tasks([task]), tell, task_json, lambda task: task.is_final
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
@json_option
def cancel_task(task_id: str, file: Path | None, *, as_json: bool) -> None:
    """Cancel a task, on any instance.

    It fails at once. Its worker stops with its next renewal (claims.renew_every), and unfinished
    data is deleted. A task that has ended does not change: exit code 1.
    """
    from imaged.cli.context import run_with_catalog
    from imaged.cli.task_view import task_json

    task = run_with_catalog(file, partial(_cancel, task_id))
    if as_json:
        print_json(task_json(task))
    else:
        click.echo(f"{task.id} is cancelled.")


async def _read_page(query: TaskQuery, catalog: Catalog, _: Config) -> Sequence[Task]:
    return await catalog.list_tasks(query)


async def _read_task(task_id: str, catalog: Catalog, _: Config) -> Task:
    return await catalog.get_task(task_id.lower())


async def _cancel(task_id: str, catalog: Catalog, config: Config) -> Task:
    from imaged.core.access import OPERATOR
    from imaged.daemon.container import build_task_service

    return await build_task_service(catalog, config).cancel(OPERATOR, task_id.lower())


def _tasks_json(page: Sequence[Task]) -> list[dict[str, object]]:
    from imaged.cli.task_view import task_json

    return [task_json(task) for task in page]
