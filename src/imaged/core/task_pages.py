"""Pages of lists of tasks, in plain Python: what the statements of every catalog must return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from imaged.core.query import TaskColumn, TaskQuery
from imaged.core.task import Task
from imaged.core.task_access import may_see_task


def matches_task(task: Task, query: TaskQuery) -> bool:
    """Whether the task belongs in the list, on whatever page."""
    return (
        (query.caller is None or may_see_task(query.caller, task))
        and query.type in {None, task.type}
        and query.status in {None, task.status}
        and query.owner in {None, task.owner}
        and query.image_id in {None, task.image_id, task.writes}
    )


def task_sort_key(task: Task, column: TaskColumn) -> tuple[str | datetime, str]:
    """The position of the task in an ascending order."""
    value: str | datetime = getattr(task, column)
    return value, task.id


def page_of_tasks(tasks: Sequence[Task], query: TaskQuery) -> list[Task]:
    """The requested page of these tasks."""
    found = [task for task in tasks if matches_task(task, query)]
    found.sort(key=lambda task: task_sort_key(task, query.sort_by), reverse=query.descending)
    if query.after is not None:
        last = task_sort_key(query.after, query.sort_by)
        keys = ((task, task_sort_key(task, query.sort_by)) for task in found)
        found = [task for task, key in keys if key != last and (key < last) == query.descending]
    return found[: query.limit]
