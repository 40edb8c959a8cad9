"""Queries for lists of tasks; ``page`` defines in plain Python what statements must return.

An order is total: the task's id, in the same direction, breaks ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from imaged.core.access import Caller, may_see_task
from imaged.core.task import Task, TaskStatus


class TaskColumn(StrEnum):
    """Columns for sorting tasks; named as in the catalog."""

    ID = "id"
    TYPE = "type"
    STATUS = "status"
    OWNER = "owner"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """A page of tasks. A field that is None is not a condition."""

    caller: Caller | None = None  # None: the operator, for whom nothing is hidden
    type: str | None = None
    status: TaskStatus | None = None
    owner: str | None = None
    image_id: str | None = None  # concerns this image, or created it
    sort_by: TaskColumn = TaskColumn.CREATED_AT
    descending: bool = True
    after: Task | None = None  # the last task of the previous page
    limit: int = 25


def matches(task: Task, query: TaskQuery) -> bool:
    """Whether the task belongs in the list, on whatever page."""
    return (
        (query.caller is None or may_see_task(query.caller, task))
        and query.type in {None, task.type}
        and query.status in {None, task.status}
        and query.owner in {None, task.owner}
        and query.image_id in {None, task.image_id, task.writes}
    )


def sort_key(task: Task, column: TaskColumn) -> tuple[str | datetime, str]:
    """The position of the task in an ascending order."""
    value: str | datetime = getattr(task, column)
    return value, task.id


def page(tasks: Sequence[Task], query: TaskQuery) -> list[Task]:
    """The requested page of these tasks."""
    found = [task for task in tasks if matches(task, query)]
    found.sort(key=lambda task: sort_key(task, query.sort_by), reverse=query.descending)
    if query.after is not None:
        last = sort_key(query.after, query.sort_by)
        found = [
            task
            for task in found
            if (key := sort_key(task, query.sort_by)) != last and (key < last) == query.descending
        ]
    return found[: query.limit]
