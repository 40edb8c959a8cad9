"""The transaction behind ``imaged status``: everything counted, in one look.

No statement looks at the rows of a large table: each group is counted in an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, String, case, func, literal, select, union_all

from imaged.catalogs import dialects
from imaged.catalogs.tables import blobs, claims, images, instances
from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.lifecycle import Status
from imaged.core.summary import Holding, Instance, Stock, Summary

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
#: One look into the index for each status, however many images there are.
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
_RESTORABLE = select(func.count(), func.coalesce(func.sum(images.c.size_bytes), 0)).where(
    images.c.deleted_from.is_not(None)
)
_OLDEST_DUE = select(func.min(blobs.c.due_at)).where(blobs.c.due_at.is_not(None))


def summarize(db: Connection) -> Summary:
    """Count everything."""
    restorable, restorable_bytes = db.execute(_RESTORABLE).one()
    return Summary(
        at=dialects.now(db),
        instances=_instances(db),
        holdings=_holdings(db),
        images=_images(db),
        stocks=_stocks(db),
        restorable=restorable,
        restorable_bytes=int(restorable_bytes),
        oldest_due_at=db.execute(_OLDEST_DUE).scalar_one(),
        oldest=_oldest(db),
    )


def _instances(db: Connection) -> Sequence[Instance]:
    return [
        Instance(InstanceId(row.id), row.version, tuple(row.roles), row.started_at, row.seen_at)
        for row in db.execute(_INSTANCES)
    ]


def _holdings(db: Connection) -> Sequence[Holding]:
    return [
        Holding(InstanceId(holder), image_id, Status(status), since, until)
        for holder, image_id, status, since, until in db.execute(_HOLDINGS)
    ]


def _images(db: Connection) -> Mapping[Status, int]:
    return {Status(status): count for status, count in db.execute(_IMAGES)}


def _oldest(db: Connection) -> Mapping[Status, datetime]:
    return {Status(status): since for status, since in db.execute(_OLDEST) if since is not None}


def _stocks(db: Connection) -> Sequence[Stock]:
    return [
        Stock(store, BlobState(state), count, int(size_bytes), int(failing))
        for store, state, count, size_bytes, failing in db.execute(_STOCKS)
    ]
