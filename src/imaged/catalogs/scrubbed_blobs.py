"""The transaction that removes the rows of many deleted blobs.

It waits for no lock: rows that others have locked are left to a transaction of their own
(``blobs.remove_blob``). So it holds up nothing, and its locks need no order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from imaged.catalogs import dialects, image_rows, rows
from imaged.catalogs.dialects import SQLITE, is_any_of
from imaged.catalogs.tables import blobs, images
from imaged.core import ledger
from imaged.core.blob import Blob, BlobState
from imaged.core.history import Actor
from imaged.core.image import Image

_THESE = is_any_of(blobs.c.key, "these")
_AWAITED_BY = select(blobs.c.key, blobs.c.awaited_by).where(_THESE)
_LOCK_IMAGES = (
    select(images.c.id).where(is_any_of(images.c.id, "these")).with_for_update(skip_locked=True)
)
_LOCK = select(blobs).where(_THESE).order_by(blobs.c.key).with_for_update(skip_locked=True)
_READ_IMAGES = image_rows.READ.where(is_any_of(images.c.id, "these"))
_DELETE = delete(blobs).where(_THESE)


@dataclass(frozen=True, slots=True)
class BlobRemoval:
    """What became of the rows."""

    deleted: Sequence[Image]  # that lost their last bytes, without their members
    left: Collection[str]  # keys of rows that others have locked


def remove(db: Connection, keys: Collection[str], by: Actor) -> BlobRemoval:
    """Remove the doomed rows of these keys that others have not locked, each as
    ``blobs.remove_blob`` does.
    """
    awaited_by = {row.key: row.awaited_by for row in db.execute(_AWAITED_BY, {"these": [*keys]})}
    free_images = _lock_images(db, {one for one in awaited_by.values() if one is not None})
    free = [key for key, one in awaited_by.items() if one is None or one in free_images]
    found = {row.key: rows.blob_of(row) for row in db.execute(_LOCK, {"these": free})}
    doomed = [
        blob
        for key, blob in found.items()
        if blob.state is BlobState.DOOMED and blob.awaited_by == awaited_by[key]
    ]
    deleted = _leave_images(db, [blob for blob in doomed if blob.awaited_by is not None], by)
    db.execute(_DELETE, {"these": [blob.key for blob in doomed]})
    return BlobRemoval(deleted, awaited_by.keys() - found.keys())


def _lock_images(db: Connection, image_ids: Collection[str]) -> Collection[str]:
    """Lock those that are free. A writer of SQLite has locked the whole file already."""
    if db.dialect.name == SQLITE or not image_ids:
        return image_ids
    return set(db.execute(_LOCK_IMAGES, {"these": [*image_ids]}).scalars())


def _leave_images(db: Connection, doomed: Sequence[Blob], by: Actor) -> Sequence[Image]:
    """Remove the locations of these blobs; returns the images that became deleted by it."""
    states = _read_images(db, {str(blob.awaited_by) for blob in doomed})
    deleted = []
    for blob in doomed:
        before = states[str(blob.awaited_by)]
        now = dialects.now(db)
        after = states[before.id] = ledger.settle_scrubbed(before, blob.key, now)
        image_rows.write(db, before, after, by, now)
        if after.status is not before.status:
            deleted.append(after)
    return deleted


def _read_images(db: Connection, image_ids: Collection[str]) -> dict[str, Image]:
    if not image_ids:
        return {}
    found = db.execute(_READ_IMAGES, {"these": [*image_ids]}).all()
    return {image.id: image for image in image_rows.load_images(db, found)}
