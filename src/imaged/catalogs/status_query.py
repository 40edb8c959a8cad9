"""The transaction behind ``imaged status``: everything counted, in one snapshot.

No statement reads the rows of a large table: each group is counted in an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, String, and_, case, func, literal, select, union_all

from imaged.catalogs import dialects, installation, outbox
from imaged.catalogs.dialects import Instant
from imaged.catalogs.installation_tables import instances
from imaged.catalogs.tables import blobs, claims, images
from imaged.catalogs.task_tables import tasks
from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId, instance_of
from imaged.core.lifecycle import RESTORE_EVENTS, Status
from imaged.core.place_marker import warnings_of
from imaged.core.summary import (
    MAX_DAMAGED_LISTED,
    BlobUsage,
    DamagedImage,
    HeldImage,
    HeldTask,
    Instance,
    InstanceReport,
    Summary,
    TaskCount,
)
from imaged.core.task import TaskStatus

_INSTANCES = select(instances).order_by(instances.c.id)
_HOLDINGS = (
    select(claims.c.holder, claims.c.image_id, images.c.status, images.c.since, claims.c.until)
    .join_from(claims, images)
    .order_by(claims.c.holder, claims.c.image_id)
)
_IMAGES = select(images.c.status, func.count()).group_by(images.c.status)
_STOCKS = (
    select(
        blobs.c.store,
        blobs.c.state,
        func.count(),
        func.sum(blobs.c.size_bytes),
        func.sum(case((blobs.c.failures > 0, 1), else_=0)),
    )
    .group_by(blobs.c.store, blobs.c.state)
    .order_by(blobs.c.store, blobs.c.state)
)
#: One lookup in the index for each status, however many images there are.
_OLDEST = union_all(
    *(
        select(
            literal(status.value, String).label("status"),
            select(func.min(images.c.since))
            .where(images.c.status == status.value)
            .scalar_subquery()
            .label("since"),
        )
        for status in Status
    )
)
_RESTORABLE = select(
    func.count(), func.coalesce(func.sum(images.c.size_bytes), 0), func.min(images.c.since)
).where(images.c.deleted_from.is_not(None))
_TASKS = (
    select(tasks.c.type, tasks.c.status, func.count(), func.min(tasks.c.created_at))
    .group_by(tasks.c.status, tasks.c.type)
    .order_by(tasks.c.type, tasks.c.status)
)
#: The claim of a task that writes an image is the claim of that image.
_TASK_HOLDINGS = (
    select(
        func.coalesce(tasks.c.holder, claims.c.holder).label("holder"),
        tasks.c.id,
        tasks.c.type,
        tasks.c.owner,
        tasks.c.begun_at,
        func.coalesce(tasks.c.until, claims.c.until, type_=Instant),
    )
    .join_from(tasks, claims, claims.c.image_id == tasks.c.writes, isouter=True)
    .where(tasks.c.status == TaskStatus.PROCESSING.value, tasks.c.expires_at.is_(None))
    .order_by("holder", tasks.c.id)
)
_IS_DAMAGED = and_(
    images.c.damage.is_not(None),
    images.c.status.in_(sorted(status.value for status in RESTORE_EVENTS)),
)
_DAMAGED = select(func.count()).select_from(images).where(_IS_DAMAGED)
_DAMAGED_IMAGES = (
    select(images.c.id, images.c.damage)
    .where(_IS_DAMAGED)
    .order_by(images.c.id)
    .limit(MAX_DAMAGED_LISTED)
)
_OLDEST_DUE = select(func.min(blobs.c.due_at)).where(blobs.c.due_at.is_not(None))


def summarize(db: Connection) -> Summary:
    """Count everything."""
    restorable, restorable_bytes, restorable_since = db.execute(_RESTORABLE).one()
    return Summary(
        at=dialects.now(db),
        instances=_instances(db),
        held_images=_held_images(db),
        images=_images(db),
        blob_usage=_blob_usage(db),
        restorable=restorable,
        restorable_bytes=int(restorable_bytes),
        oldest_due_at=db.execute(_OLDEST_DUE).scalar_one(),
        oldest=_oldest(db),
        tasks=_tasks(db),
        held_tasks=_held_tasks(db),
        damaged=db.execute(_DAMAGED).scalar_one(),
        damaged_images=[DamagedImage(*row) for row in db.execute(_DAMAGED_IMAGES)],
        restorable_since=restorable_since,
        warnings=warnings_of(installation.list_places(db)),
        outbox=outbox.count(db),
    )


def _instances(db: Connection) -> Sequence[Instance]:
    return [
        Instance(
            InstanceId(row.id),
            row.version,
            tuple(row.roles),
            row.started_at,
            row.seen_at,
            tuple(row.troubles),
            msgspec.convert(row.report, InstanceReport),
        )
        for row in db.execute(_INSTANCES)
    ]


def _held_images(db: Connection) -> Sequence[HeldImage]:
    return [
        HeldImage(instance_of(InstanceId(holder)), image_id, Status(status), since, until)
        for holder, image_id, status, since, until in db.execute(_HOLDINGS)
    ]


def _images(db: Connection) -> Mapping[Status, int]:
    return {Status(status): count for status, count in db.execute(_IMAGES)}


def _oldest(db: Connection) -> Mapping[Status, datetime]:
    return {Status(status): since for status, since in db.execute(_OLDEST) if since is not None}


def _blob_usage(db: Connection) -> Sequence[BlobUsage]:
    return [
        BlobUsage(store, BlobState(state), count, int(size_bytes), int(failing))
        for store, state, count, size_bytes, failing in db.execute(_STOCKS)
    ]


def _held_tasks(db: Connection) -> Sequence[HeldTask]:
    return [
        HeldTask(instance_of(InstanceId(holder)), task_id, name, owner, begun_at, until)
        for holder, task_id, name, owner, begun_at, until in db.execute(_TASK_HOLDINGS)
        if holder is not None and begun_at is not None
    ]


def _tasks(db: Connection) -> Sequence[TaskCount]:
    return [
        TaskCount(name, TaskStatus(status), count, oldest_at)
        for name, status, count, oldest_at in db.execute(_TASKS)
    ]
