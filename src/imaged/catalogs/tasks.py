"""Transactions about tasks.

A task that writes an image is changed by ``images.modify``, under the lock of that image, until it
is final; the image never changes, so it is known before anything is locked. All other tasks need
only the lock of their own row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    false,
    func,
    or_,
    select,
    update,
)

from imaged.catalogs import dialects, image_rows, images, outbox, task_rows
from imaged.catalogs.dialects import Instant
from imaged.catalogs.task_tables import tasks
from imaged.core import task as task_rules
from imaged.core.errors import ImageNotFound
from imaged.core.history import Actor
from imaged.core.image import Image
from imaged.core.notification import WantedEvents, task_notifications, task_removed
from imaged.core.query import TaskQuery
from imaged.core.quota import LimitsOf
from imaged.core.task import Progress, Task, TaskChange, TaskStatus, require_final
from imaged.core.task_pages import task_sort_key
from imaged.core.uploading import change_task

_MOST = bindparam("most", type_=Integer)
_ADVANCE = update(tasks).where(
    tasks.c.id == bindparam("this"),
    tasks.c.status == TaskStatus.PROCESSING.value,
    tasks.c.attempts == bindparam("attempt"),
)
_BUSY = (
    select(tasks.c.owner, func.count().label("number"))
    .where(tasks.c.expires_at.is_(None), tasks.c.status == TaskStatus.PROCESSING.value)
    .group_by(tasks.c.owner)
    .subquery("busy")
)
_WAITING = (
    select(
        tasks.c.id,
        tasks.c.owner,
        func.row_number()
        .over(partition_by=tasks.c.owner, order_by=(tasks.c.created_at, tasks.c.id))
        .label("place"),
    )
    .where(
        tasks.c.expires_at.is_(None),
        tasks.c.status == TaskStatus.PENDING.value,
        tasks.c.type.in_(bindparam("types", expanding=True)),
    )
    .subquery("waiting")
)
_OTHER = tasks.alias("other")
_SERVED = (
    select(func.max(_OTHER.c.begun_at))
    .where(_OTHER.c.owner == _WAITING.c.owner, _OTHER.c.begun_at.is_not(None))
    .scalar_subquery()
)
_TURNS = (
    task_rows.READ.join_from(tasks, _WAITING, tasks.c.id == _WAITING.c.id)
    .outerjoin(_BUSY, tasks.c.owner == _BUSY.c.owner)
    .order_by(
        _WAITING.c.place + func.coalesce(_BUSY.c.number, 0),
        _SERVED.asc().nulls_first(),
        tasks.c.created_at,
        tasks.c.id,
    )
    .limit(_MOST)
)
_STRANGE = (
    task_rows.READ.where(
        tasks.c.expires_at.is_(None),
        tasks.c.status == TaskStatus.PENDING.value,
        tasks.c.type.not_in(bindparam("types", expanding=True)),
        tasks.c.updated_at <= bindparam("latest", type_=Instant),
    )
    .order_by(tasks.c.updated_at, tasks.c.id)
    .limit(_MOST)
)
_UNFINISHED = (
    select(func.count())
    .select_from(tasks)
    .where(
        tasks.c.expires_at.is_(None),
        tasks.c.status.in_((TaskStatus.PENDING.value, TaskStatus.PROCESSING.value)),
        tasks.c.owner == bindparam("owner"),
    )
)
_EXPIRED = (
    task_rows.READ.where(tasks.c.expires_at <= bindparam("now", type_=Instant))
    .order_by(tasks.c.expires_at, tasks.c.id)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class ChangedTask:
    """A task before and after a change; and the image that it writes, if it is changed with it."""

    before: Task
    after: Task
    image: tuple[Image, Image] | None = None  # before and after


def add(db: Connection, task: Task, wanted: WantedEvents) -> Task:
    """Insert a task that writes no image."""
    now = dialects.now(db)
    task = task_rules.created(task, now)
    task_rows.write(db, None, task, now)
    if wanted:
        outbox.add(db, wanted, task_notifications(None, task), now)
    return task


def count_unfinished(db: Connection, owner: str) -> int:
    """Count an owner's tasks that are not final."""
    return db.execute(_UNFINISHED, {"owner": owner}).scalar_one()


def modify(
    db: Connection,
    limits_of: LimitsOf,
    task_id: str,
    change: TaskChange,
    by: Actor,
    *,
    wanted: WantedEvents,
) -> ChangedTask:
    """Apply a change to the task; if it writes an image, with the consequences for that."""
    seen = task_rows.read(db, task_id)
    if seen.writes is not None and not seen.is_final and _is_in(db, seen.writes, task_id):
        image = images.modify(db, limits_of, seen.writes, change_task(change), by, wanted=wanted)
        return ChangedTask(seen, task_rows.read(db, task_id), image)
    task_rows.lock(db, task_id)
    before = task_rows.read(db, task_id)
    after = change(before)
    if after is not before:
        now = dialects.now(db)
        after = task_rules.stamp(before, after, now)
        task_rows.write(db, before, after, now)
        if wanted:
            outbox.add(db, wanted, task_notifications(before, after), now)
    return ChangedTask(before, after)


def advance(db: Connection, task_id: str, attempt: int, progress: Progress) -> None:
    """Record the progress of an attempt, if it is the current one."""
    values = {**task_rows.progress_values(progress), "updated_at": dialects.now(db)}
    db.execute(_ADVANCE, {"this": task_id, "attempt": attempt, **values})


def find_pending(db: Connection, types: Collection[str], limit: int) -> Sequence[Task]:
    """Read pending tasks, owners in turn."""
    found = db.execute(_TURNS, {"types": sorted(types), "most": limit})
    return [task_rows.task_of(row) for row in found]


def find_stale(
    db: Connection, known: Collection[str], pending_for: timedelta, limit: int
) -> Sequence[Task]:
    """Read tasks of other types that were pending for at least this long, the longest first."""
    values = {"types": sorted(known), "latest": dialects.now(db) - pending_for, "most": limit}
    return [task_rows.task_of(row) for row in db.execute(_STRANGE, values)]


def remove(
    db: Connection, task_id: str, allow: Callable[[Task], object], wanted: WantedEvents
) -> None:
    """Remove a final task, unless ``allow`` raises. Raises TaskNotFound, TaskNotFinal."""
    task_rows.lock(db, task_id)
    task = task_rows.read(db, task_id)
    allow(task)
    require_final(task)
    _remove(db, [task], wanted, dialects.now(db))


def expire(db: Connection, limit: int, wanted: WantedEvents) -> Sequence[Task]:
    """Remove expired tasks. Skips those that another caller has locked."""
    now = dialects.now(db)
    expired = [task_rows.task_of(row) for row in db.execute(_EXPIRED, {"now": now, "most": limit})]
    _remove(db, expired, wanted, now)
    return expired


def list_tasks(db: Connection, query: TaskQuery) -> Sequence[Task]:
    """Read the requested page."""
    return [task_rows.task_of(row) for row in db.execute(_list_statement(query))]


def _remove(db: Connection, gone: Sequence[Task], wanted: WantedEvents, now: datetime) -> None:
    task_rows.remove(db, [task.id for task in gone])
    if wanted:
        outbox.add(db, wanted, [task_removed(task, now) for task in gone], now)


def _list_statement(query: TaskQuery) -> Select[*tuple[Any, ...]]:
    """The statement for the rows of a page."""
    column = tasks.c[query.sort_by]
    keys = (column,) if column is tasks.c.id else (column, tasks.c.id)
    statement = task_rows.READ.where(*_list_conditions(query))
    if query.after is not None:
        statement = statement.where(_comes_after(query.after, query))
    order = [key.desc() if query.descending else key.asc() for key in keys]
    return statement.order_by(*order).limit(query.limit)


def _is_in(db: Connection, image_id: str, task_id: str) -> bool:
    """Whether it is the task of the image, which this locks.

    It is, unless an older version, which does not know such tasks, reclaimed the image.
    """
    image_rows.lock(db, image_id)
    try:
        image: Image | None = image_rows.read(db, image_id)
    except ImageNotFound:
        image = None
    return image is not None and image.task is not None and image.task.id == task_id


def _list_conditions(query: TaskQuery) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = []
    if query.caller is not None and not query.caller.is_admin:
        own = tasks.c.owner == query.caller.project
        clauses.append(own if query.caller.project else false())
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
