"""``imaged tasks``: long work on images, as the operator sees it: everybody's."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imaged.cli import EXIT_PROBLEMS
from imaged.cli.options import config_option, json_option, print_json
from imaged.cli.watching import View, watch, watch_option
from imaged.core.task import Task, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imaged.config import Config
    from imaged.core.task_query import TaskQuery
    from imaged.ports.catalog import Catalog

MOST = 1000  # at a time

_task_argument = click.argument("task_id", metavar="TASK")


@click.group()
def tasks() -> None:
    """List tasks, show one, or cancel it: imports, exports, clones and whatever else takes long.

    It works on the catalog of the configuration, beside daemons or without them.
    """


@tasks.command("list")
@click.option("--type", "name", metavar="NAME", help="Those of one type, such as import.")
@click.option(
    "--status", type=click.Choice([one.value for one in TaskStatus]), help="Those in one status."
)
@click.option("--owner", metavar="PROJECT", help="Those of one project.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, MOST),
    default=100,
    show_default=True,
    help="So many at most.",
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
    """List tasks, the newest first: whose they are, how far they are, and why they failed.

    Filters go together. With --watch, tasks that are worked on have bars; with --json too, each
    look is one line.
    """
    from imaged.cli.opening import run_with_catalog
    from imaged.cli.task_views import draw, facts_of, listing
    from imaged.core.task_query import TaskQuery

    query = TaskQuery(
        type=name, status=TaskStatus(status) if status else None, owner=owner, limit=limit
    )
    read = partial(_read_page, query)
    if every is not None:
        view = View(read, draw, lambda page: listing(page).print(), _facts_of_all)
        watch(file, every, view, as_json=as_json)
        return
    page = run_with_catalog(file, read)
    if as_json:
        print_json([facts_of(task) for task in page])
    else:
        listing(page).print()


@tasks.command("show")
@_task_argument
@watch_option
@config_option
@json_option
def show_task(task_id: str, every: timedelta | None, file: Path | None, *, as_json: bool) -> int:
    """Show a task: what was asked for, how far it is, and what came of it.

    With --watch, until it has ended; the exit code is then 1 unless it was successful.
    """
    from imaged.cli.opening import run_with_catalog
    from imaged.cli.task_views import draw, facts_of, lines

    read = partial(_read_task, task_id)

    def tell(task: Task) -> None:
        click.echo("\n".join(lines(task)))

    if every is not None:
        view = View(read, lambda task: draw([task]), tell, facts_of, lambda task: task.is_final)
        seen = watch(file, every, view, as_json=as_json)
        return 0 if seen is None or seen.status is not TaskStatus.FAILURE else EXIT_PROBLEMS
    task = run_with_catalog(file, read)
    if as_json:
        print_json(facts_of(task))
    else:
        tell(task)
    return 0


@tasks.command("cancel")
@_task_argument
@config_option
@json_option
def cancel_task(task_id: str, file: Path | None, *, as_json: bool) -> None:
    """Cancel a task, whoever works on it.

    It has failed at once. Its worker hears of it with its next renewal (claims.renew_every), and
    stops; what it had written so far is deleted. One that has ended stays as it is: exit code 1.
    """
    from imaged.cli.opening import run_with_catalog
    from imaged.cli.task_views import facts_of

    task = run_with_catalog(file, partial(_cancel, task_id))
    if as_json:
        print_json(facts_of(task))
    else:
        click.echo(f"{task.id} is cancelled.")


async def _read_page(query: TaskQuery, catalog: Catalog, _: Config) -> Sequence[Task]:
    return await catalog.list_tasks(query)


async def _read_task(task_id: str, catalog: Catalog, _: Config) -> Task:
    return await catalog.get_task(task_id.lower())


async def _cancel(task_id: str, catalog: Catalog, config: Config) -> Task:
    from imaged.core.access import OPERATOR
    from imaged.daemon.assembly import build_desk

    return await build_desk(catalog, config).cancel(OPERATOR, task_id.lower())


def _facts_of_all(page: Sequence[Task]) -> list[dict[str, object]]:
    from imaged.cli.task_views import facts_of

    return [facts_of(task) for task in page]
