"""The statement behind a list of tasks: ``core/query`` in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, or_

from imaged.catalogs import task_rows
from imaged.catalogs.task_tables import tasks
from imaged.core.query import TaskQuery, task_sort_key
from imaged.core.task import Task


def list_tasks(db: Connection, query: TaskQuery) -> Sequence[Task]:
    """Read the requested page."""
    return [task_rows.task_of(row) for row in db.execute(page(query))]


def page(query: TaskQuery) -> Select[*tuple[Any, ...]]:
    """The statement for the rows of a page."""
    column = tasks.c[query.sort_by]
    keys = (column,) if column is tasks.c.id else (column, tasks.c.id)
    statement = task_rows.READ.where(*_wanted(query))
    if query.after is not None:
        statement = statement.where(_comes_after(query.after, query))
    order = [key.desc() if query.descending else key.asc() for key in keys]
    return statement.order_by(*order).limit(query.limit)


def _wanted(query: TaskQuery) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if query.caller is not None and not query.caller.is_admin:
        clauses.append(tasks.c.owner == query.caller.project)
    equal = {"type": query.type, "status": query.status, "owner": query.owner}
    clauses += [tasks.c[name] == value for name, value in equal.items() if value is not None]
    if query.image_id is not None:
        clauses.append(or_(tasks.c.image_id == query.image_id, tasks.c.writes == query.image_id))
    return clauses


def _comes_after(last: Task, query: TaskQuery) -> ColumnElement[bool]:
    """Behind the last task; the condition on the first key alone comes first, for an index to
    follow.
    """
    column, (value, task_id) = tasks.c[query.sort_by], task_sort_key(last, query.sort_by)
    if query.descending:
        return and_(column <= value, or_(column < value, tasks.c.id < task_id))
    return and_(column >= value, or_(column > value, tasks.c.id > task_id))
