"""Transactions about images.

Locks are taken in the port's order: image, blobs, accounts, lease, task.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, Integer, bindparam, delete, insert, select

from imaged.catalogs import (
    accounts,
    blobs,
    dialects,
    image_rows,
    leases,
    outbox,
    rows,
    tables,
    task_rows,
)
from imaged.catalogs.dialects import Instant
from imaged.catalogs.prepared import PreparedSelect
from imaged.catalogs.tables import images, tombstones
from imaged.core import ledger, quota
from imaged.core.errors import ImageExists, QuotaExceeded
from imaged.core.growth import growing_upload_of, may_wait
from imaged.core.history import Actor
from imaged.core.image import Change, Image
from imaged.core.lifecycle import Status
from imaged.core.notification import WantedEvents, image_notifications
from imaged.core.quota import LimitsOf

_MOST = bindparam("most", type_=Integer)
_LATEST = bindparam("latest", type_=Instant)

_EXPIRABLE = (
    image_rows.READ.where(images.c.deleted_from.is_not(None), images.c.since <= _LATEST)
    .order_by(images.c.since, images.c.id)
    .limit(_MOST)
)
_STAGED = (
    image_rows.READ.where(
        images.c.status == Status.UPLOADING.value,
        images.c.updated_at <= _LATEST,
        tables.claims.c.token.is_(None),
    )
    .order_by(images.c.updated_at, images.c.id)
    .limit(_MOST)
)
_BROKEN = (
    image_rows.READ.where(
        images.c.broken_at.is_not(None),
        images.c.broken_at <= _LATEST,
        tables.claims.c.token.is_(None),
    )
    .order_by(images.c.broken_at, images.c.id)
    .limit(_MOST)
)
_LONG_DELETED = (
    select(images.c.id)
    .where(images.c.status == Status.DELETED.value, images.c.since <= _LATEST)
    .order_by(images.c.since, images.c.id)
    .limit(_MOST)
    .with_for_update(skip_locked=True)
)
_REMOVE = delete(images).where(images.c.id.in_(bindparam("these", expanding=True)))
_ADD_TOMBSTONES = insert(tombstones)
_TOMBSTONE = PreparedSelect(select(tombstones.c.id).where(tombstones.c.id == bindparam("this")))


def add(
    db: Connection, limits_of: LimitsOf, image: Image, by: Actor, wanted: WantedEvents
) -> Image:
    """Insert an image, with the task that is to make it, if there is one.

    Raises ImageExists, QuotaExceeded, LimitsUnknown.

    The tombstone is checked after the insert, which waits for a concurrent purge.
    """
    now = dialects.now(db)
    image = ledger.created(image, now)
    added = dialects.insert_or_ignore(db, images, rows.image_values(image))
    if not added or _TOMBSTONE.rows(db, {"this": image.id}):
        raise ImageExists(image.id)
    image_rows.write_parts(db, Image(id=image.id, owner=image.owner), image)
    image_rows.write_entry(db, None, image, by, now)
    accounts.charge(db, quota.charges(None, image), limits_of)
    task_rows.write(db, None, image.task, now)
    if wanted:
        outbox.add(db, wanted, image_notifications(None, image), now)
    return image


def modify(
    db: Connection,
    limits_of: LimitsOf,
    image_id: str,
    change: Change,
    by: Actor,
    *,
    wanted: WantedEvents,
) -> tuple[Image, Image]:
    """Apply a change to the image, and write its consequences, its history and its events; returns
    it before and after, there with its task even if that has ended.
    """
    image_rows.lock(db, image_id)
    before = image_rows.read(db, image_id)
    after = change(before)
    if after is before:
        return before, before
    known = blobs.lock(db, ledger.touched(before, after))
    now = dialects.now(db)
    after, settled = ledger.settle(before, after, known, now)
    blobs.write(db, known, settled)
    try:
        accounts.charge(db, quota.charges(before, after), limits_of)
    except QuotaExceeded as refused:
        if mine := growing_upload_of(after):
            uploads = accounts.growing_uploads(db, after.owner)
            refused.may_fit_later = may_wait(mine, refused.resource, uploads)
        raise
    image_rows.write(db, before, after, by, now)
    leases.move(db, before, after, now)
    task_rows.write(db, before.task, after.task, now)
    for key, checksums in ledger.block_checksums_of(after).items():
        blobs.add_checksums(db, key, checksums)
    if wanted:
        outbox.add(db, wanted, image_notifications(before, after, now), now)
    return before, ledger.without_block_checksums(after)


def find_expirable(db: Connection, delay: timedelta, limit: int) -> Sequence[Image]:
    """Read restorable images that have waited at least this long, the longest first."""
    values = {"latest": dialects.now(db) - delay, "most": limit}
    return image_rows.load_images(db, db.execute(_EXPIRABLE, values).all())


def find_staged(db: Connection, idle_for: timedelta, limit: int) -> Sequence[Image]:
    """Read unclaimed images with staged data that were not changed for at least this long."""
    values = {"latest": dialects.now(db) - idle_for, "most": limit}
    return image_rows.load_images(db, db.execute(_STAGED, values).all())


def find_broken_uploads(db: Connection, idle_for: timedelta, limit: int) -> Sequence[Image]:
    """Read unclaimed images whose upload broke off at least this long ago, the longest first."""
    values = {"latest": dialects.now(db) - idle_for, "most": limit}
    return image_rows.load_images(db, db.execute(_BROKEN, values).all())


def purge(db: Connection, deleted_for: timedelta, limit: int) -> Sequence[str]:
    """Replace images that were deleted at least this long ago by tombstones."""
    values = {"latest": dialects.now(db) - deleted_for, "most": limit}
    purged = db.execute(_LONG_DELETED, values).scalars().all()
    if purged:
        db.execute(_REMOVE, {"these": purged})
        db.execute(_ADD_TOMBSTONES, [{"id": image_id} for image_id in purged])
    return purged
