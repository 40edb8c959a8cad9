"""Transactions about the outbox: events are added with their change, taken, and removed.

An event is added under the lock of its image or its task, so those of a queue are numbered in the
order of their changes. The first event of a queue is what instances lock and hide from each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from uuid import uuid4

from sqlalchemy import Connection, Integer, bindparam, delete, exists, func, insert, select, update

from imaged.catalogs import dialects
from imaged.catalogs.dialects import Instant
from imaged.catalogs.outbox_tables import outbox
from imaged.catalogs.prepared import PreparedSelect, PreparedWrite
from imaged.catalogs.rows import AnyRow
from imaged.core.notification import Notification, Priority, WantedEvents
from imaged.core.outbox import DeliveryResult, FailedDelivery, OutboxCount, OutboxEvent

_MOST = bindparam("most", type_=Integer)
_THIS = outbox.c.id == bindparam("this")
_THESE = outbox.c.id.in_(bindparam("these", expanding=True))
_EARLIER = outbox.alias("earlier")

_INSERT = PreparedWrite(insert(outbox))
_LAST_NUMBER = PreparedSelect(
    select(func.max(outbox.c.number)).where(outbox.c.queue == bindparam("this"))
)
_DUE_QUEUES = (
    select(outbox.c.id, outbox.c.queue)
    .where(
        outbox.c.due_at <= bindparam("now", type_=Instant),
        ~exists().where(_EARLIER.c.queue == outbox.c.queue, _EARLIER.c.number < outbox.c.number),
    )
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
)
_IN_QUEUE = (
    select(outbox).where(outbox.c.queue == bindparam("this")).order_by(outbox.c.number).limit(_MOST)
)
_SET_DUE = update(outbox).where(_THESE).values(due_at=bindparam("then", type_=Instant))
_REMOVE = delete(outbox).where(_THESE)
_FAIL = (
    update(outbox)
    .where(_THIS)
    .values(
        due_at=bindparam("then", type_=Instant),
        failures=outbox.c.failures + 1,
        last_error=bindparam("why"),
    )
)
_OLDEST = select(outbox).order_by(outbox.c.created_at, outbox.c.id).limit(_MOST)
_TOO_OLD = _OLDEST.where(outbox.c.created_at <= bindparam("latest", type_=Instant))
#: When the newest of those that are too many was added.
_SURPLUS_BEGINS = (
    select(outbox.c.created_at)
    .order_by(outbox.c.created_at.desc(), outbox.c.id.desc())
    .offset(bindparam("kept", type_=Integer))
    .limit(1)
)
_COUNT = select(func.count()).select_from(outbox)
_OLDEST_AT = select(func.min(outbox.c.created_at))
_COUNT_FAILING = select(func.count()).select_from(outbox).where(outbox.c.failures > 0)


def add(
    db: Connection,
    wanted: WantedEvents,
    notifications: Iterable[Notification],
    now: datetime,
) -> None:
    """Add those of the wanted types. The image or the task of each is locked."""
    chosen = [one for one in notifications if one.type in wanted]
    for queue, events in groupby(chosen, key=lambda one: one.queue):
        ((last,),) = _LAST_NUMBER.rows(db, {"this": queue})
        numbered = enumerate(events, start=(last or 0) + 1)
        _INSERT.execute_all(db, [_values_of(event, number, now) for number, event in numbered])


def add_unordered(
    db: Connection, wanted: WantedEvents, notifications: Iterable[Notification]
) -> None:
    """Add those of the wanted types, whose queues are new."""
    now = dialects.now(db)
    if chosen := [_values_of(one, 1, now) for one in notifications if one.type in wanted]:
        _INSERT.execute_all(db, chosen)


def take(
    db: Connection, limit: int, per_queue: int, busy_for: timedelta
) -> Sequence[Sequence[OutboxEvent]]:
    """Take the first events of queues that are due, and hide these queues for a while."""
    now = dialects.now(db)
    heads = db.execute(_DUE_QUEUES, {"now": now, "most": limit}).all()
    if not heads:
        return []
    db.execute(_SET_DUE, {"these": [head.id for head in heads], "then": now + busy_for})
    found = [db.execute(_IN_QUEUE, {"this": head.queue, "most": per_queue}) for head in heads]
    return [[_event_of(row) for row in rows] for rows in found]


def settle(db: Connection, result: DeliveryResult) -> None:
    """Remove what was accepted, and set when the rest is due. Ignores events that are gone."""
    now = dialects.now(db)
    if result.accepted:
        db.execute(_REMOVE, {"these": result.accepted})
    if result.untried:
        db.execute(_SET_DUE, {"these": result.untried, "then": now})
    if result.failed:
        db.execute(_FAIL, [_failure_values(one, now) for one in result.failed])


def drop(db: Connection, keep: timedelta, max_events: int, limit: int) -> Sequence[OutboxEvent]:
    """Remove the oldest events: those that are too old, and those that are too many."""
    latest = dialects.now(db) - keep
    surplus: datetime | None = db.execute(_SURPLUS_BEGINS, {"kept": max_events}).scalar()
    if surplus is not None:
        latest = max(latest, surplus)
    dropped = [_event_of(row) for row in db.execute(_TOO_OLD, {"latest": latest, "most": limit})]
    if dropped:
        db.execute(_REMOVE, {"these": [event.id for event in dropped]})
    return dropped


def list_events(db: Connection, limit: int) -> Sequence[OutboxEvent]:
    """Read the oldest events."""
    return [_event_of(row) for row in db.execute(_OLDEST, {"most": limit})]


def count(db: Connection) -> OutboxCount:
    """Count the events that wait."""
    return OutboxCount(
        db.execute(_COUNT).scalar_one(),
        db.execute(_COUNT_FAILING).scalar_one(),
        db.execute(_OLDEST_AT).scalar_one(),
    )


def _values_of(event: Notification, number: int, now: datetime) -> dict[str, object]:
    return {
        "id": uuid4(),
        "queue": event.queue,
        "number": number,
        "type": str(event.type),
        "priority": str(event.priority),
        "subject": event.subject,
        "payload": event.payload,
        "created_at": now,
        "due_at": now,
    }


def _failure_values(failed: FailedDelivery, now: datetime) -> dict[str, object]:
    return {"this": failed.id, "then": now + failed.pause, "why": failed.why}


def _event_of(row: AnyRow) -> OutboxEvent:
    priority = Priority(row.priority)
    notification = Notification(row.type, row.queue, row.subject, row.payload, priority)
    return OutboxEvent(row.id, notification, row.created_at, row.failures, row.last_error)
