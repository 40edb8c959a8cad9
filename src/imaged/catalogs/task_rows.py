"""Converts tasks to rows and back: locked, read, and written where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from imaged.catalogs import dialects, rows
from imaged.catalogs.prepared import PreparedWrite
from imaged.catalogs.rows import AnyRow, Values
from imaged.catalogs.task_tables import tasks
from imaged.core.errors import TaskNotFound
from imaged.core.task import Progress, Task, TaskStatus

#: The columns that have the name and the value of an attribute of the task.
_SAME = (
    *("id", "type", "owner", "user_id", "request_id", "input", "sealed", "image_id", "writes"),
    *("attempts", "max_attempts", "result", "message", "keep_for", "expires_at"),
    *("created_at", "updated_at", "begun_at", "finished_by"),
)

READ = select(tasks)

_THIS = tasks.c.id == bindparam("this")
_LOCK = select(tasks.c.id).where(_THIS).with_for_update()
_READ_THIS = READ.where(_THIS)
_WRITERS = READ.where(
    tasks.c.writes.in_(bindparam("these", expanding=True)), tasks.c.expires_at.is_(None)
)
_INSERT = PreparedWrite(insert(tasks))
_UPDATE = PreparedWrite(update(tasks).where(_THIS))
_DELETE = delete(tasks).where(tasks.c.id.in_(bindparam("these", expanding=True)))


def lock(db: Connection, task_id: str) -> None:
    """Lock a task, if it exists."""
    dialects.lock(db, _LOCK, {"this": task_id})


def read(db: Connection, task_id: str) -> Task:
    """Read one task. Raises TaskNotFound."""
    row = db.execute(_READ_THIS, {"this": task_id}).first()
    if row is None:
        raise TaskNotFound(task_id)
    return task_of(row)


def writers(db: Connection, image_ids: Sequence[str]) -> dict[str, Task]:
    """The tasks that write these images and are not final, by image."""
    if not image_ids:
        return {}
    return {row.writes: task_of(row) for row in db.execute(_WRITERS, {"these": image_ids})}


def write(db: Connection, before: Task | None, after: Task | None, now: datetime) -> None:
    """Write what differs; its lease, if any, begins now. Never removes a task."""
    if after is None or after == before:
        return
    if before is None or before.id != after.id:
        _INSERT.execute(db, {**_task_values(after), **_lease_values(after, now)})
        return
    old, new = _task_values(before), _task_values(after)
    changed = {name: value for name, value in new.items() if value != old[name]}
    if after.claim != before.claim:
        changed |= _lease_values(after, now)
    _UPDATE.execute(db, {"this": after.id, **changed})


def remove(db: Connection, task_ids: Sequence[str]) -> None:
    """Remove records."""
    if task_ids:
        db.execute(_DELETE, {"these": task_ids})


def progress_values(progress: Progress | None) -> Values:
    """The columns of its progress."""
    return {
        "phase": progress and progress.phase,
        "done_bytes": progress and progress.done_bytes,
        "total_bytes": progress and progress.total_bytes,
    }


def task_of(row: AnyRow) -> Task:
    """The task of a row."""
    progress = None
    if row.phase is not None:
        progress = Progress(row.phase, row.done_bytes, row.total_bytes)
    return Task(
        **rows.values_of(row, _SAME),
        roles=tuple(row.roles),
        status=TaskStatus(row.status),
        progress=progress,
        claim=None if row.token is None else rows.claim_of(row),
    )


def _task_values(task: Task) -> Values:
    """The columns of the task's row except its lease, by name."""
    same = rows.values_of(task, (*_SAME, "roles", "status"))
    return same | progress_values(task.progress)


def _lease_values(task: Task, now: datetime) -> Values:
    claim = task.claim
    return {
        "token": claim and claim.token,
        "holder": claim and claim.owner,
        "lease": claim and claim.lease,
        "until": claim and now + claim.lease,
    }
