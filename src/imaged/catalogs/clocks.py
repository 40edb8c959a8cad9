"""Transactions about the catalog's clock, and about timestamps it cannot explain."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select, update

from imaged.catalogs import dialects, rows
from imaged.catalogs.blobs import write as write_blobs
from imaged.catalogs.dialects import Instant, minus_duration
from imaged.catalogs.installation_tables import clock, instances
from imaged.catalogs.outbox_tables import outbox
from imaged.catalogs.tables import blobs, images
from imaged.catalogs.task_tables import tasks
from imaged.core.blob import DELETION_RETRIES
from imaged.core.clock import CLOCK_TOLERANCE, ClockMark, ClockReading, redate_blob
from imaged.core.lifecycle import Status
from imaged.core.outbox import LONGEST_WAIT
from imaged.core.task import TaskStatus

ONLY_ROW_ID = 1  # of the only row

_NOW = bindparam("this_moment", type_=Instant)
_AHEAD = bindparam("ahead", type_=Instant)

_READ = select(clock)
_UPDATE = update(clock)
_CONFIRM = update(clock).values(confirmations=clock.c.confirmations + 1)

#: Timestamps that delays are counted from. If one lies ahead, counting starts now.
_COUNTED_FROM = (
    update(images)
    .where(
        images.c.status.in_((Status.PENDING_DELETE.value, Status.DELETED.value)),
        images.c.since > _AHEAD,
    )
    .values(since=_NOW),
    update(images)
    .where(images.c.status == Status.UPLOADING.value, images.c.updated_at > _AHEAD)
    .values(updated_at=_NOW),
    update(images)
    .where(images.c.broken_at.is_not(None), images.c.broken_at > _AHEAD)
    .values(broken_at=_NOW),
    update(tasks)
    .where(
        tasks.c.expires_at.is_(None),
        tasks.c.status == TaskStatus.PENDING.value,
        tasks.c.updated_at > _AHEAD,
    )
    .values(updated_at=_NOW),
    update(outbox).where(outbox.c.created_at > _AHEAD).values(created_at=_NOW, due_at=_NOW),
    update(instances).where(instances.c.seen_at > _AHEAD).values(seen_at=_NOW),
)
_OUTBOX_DUE = (
    update(outbox)
    .where(outbox.c.due_at > bindparam("latest", type_=Instant))
    .values(due_at=bindparam("now", type_=Instant))
)
_EXPIRING = select(tasks.c.id, tasks.c.keep_for).where(
    tasks.c.expires_at > _AHEAD, minus_duration(tasks.c.expires_at, tasks.c.keep_for) > _AHEAD
)
_EXPIRE = update(tasks).where(tasks.c.id == bindparam("this")).values(expires_at=bindparam("then"))
_DUE = (
    select(blobs)
    .where(blobs.c.due_at > _AHEAD)
    .order_by(blobs.c.key)
    .with_for_update(skip_locked=True)
)


def read(db: Connection) -> ClockReading:
    """Read the clock and its recorded mark."""
    row = db.execute(_READ).first()
    if row is None:
        return ClockReading(dialects.now(db))
    mark = ClockMark(
        at=row.at,
        boot_id=row.boot_id,
        uptime=row.uptime,
        step=row.step,
        held_until=row.held_until,
    )
    return ClockReading(dialects.now(db), mark, row.confirmations)


def note(db: Connection, mark: ClockMark) -> None:
    """Record a mark in place of the previous one."""
    values = {
        "at": mark.at,
        "boot_id": mark.boot_id,
        "uptime": mark.uptime,
        "step": mark.step,
        "held_until": mark.held_until,
    }
    if not db.execute(_UPDATE, values).rowcount:
        dialects.insert_or_ignore(db, clock, {"id": ONLY_ROW_ID, "confirmations": 0, **values})


def confirm(db: Connection, mark: ClockMark) -> None:
    """Record a mark that an operator has confirmed."""
    note(db, mark)
    db.execute(_CONFIRM)


def redate(db: Connection, quarantine: timedelta) -> int:
    """Reset timestamps that lie further ahead than their delay or patience explains; returns the
    number of rows.
    """
    now = dialects.now(db)
    moments = {"this_moment": now, "ahead": now + CLOCK_TOLERANCE}
    count = sum(db.execute(statement, moments).rowcount for statement in _COUNTED_FROM)
    longest_wait = {"now": now, "latest": now + LONGEST_WAIT + CLOCK_TOLERANCE}
    count += db.execute(_OUTBOX_DUE, longest_wait).rowcount
    return count + _redate_expiring(db, now) + _redate_doomed(db, now, quarantine)


def _redate_expiring(db: Connection, now: datetime) -> int:
    found = db.execute(_EXPIRING, {"ahead": now + CLOCK_TOLERANCE}).all()
    if found:
        db.execute(_EXPIRE, [{"this": row.id, "then": now + row.keep_for} for row in found])
    return len(found)


def _redate_doomed(db: Connection, now: datetime, quarantine: timedelta) -> int:
    ahead = {"ahead": now + DELETION_RETRIES.longest_pause + CLOCK_TOLERANCE}
    known = {row.key: rows.blob_of(row) for row in db.execute(_DUE, ahead)}
    dated = [redate_blob(blob, now, quarantine) for blob in known.values()]
    write_blobs(db, known, dated)
    return sum(blob != known[blob.key] for blob in dated)
