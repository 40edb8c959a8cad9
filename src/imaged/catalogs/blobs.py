"""Transactions about the ledger of blobs, the queue of doomed ones, and their block checksums."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, Integer, bindparam, delete, insert, select, update

from imaged.catalogs import dialects, image_rows, rows
from imaged.catalogs.dialects import is_any_of
from imaged.catalogs.prepared import PreparedSelect, PreparedWrite
from imaged.catalogs.tables import blobs, block_checksums
from imaged.core import blob as blob_rules
from imaged.core import ledger
from imaged.core.blob import Blob, BlobState
from imaged.core.errors import BlobGone
from imaged.core.history import Actor
from imaged.core.image import Image, Location
from imaged.core.integrity import pages_of

#: Sorts behind every key with a given prefix: no key has this character.
BEHIND_ALL = "\U0010ffff"

_THIS = blobs.c.key == bindparam("this")
_READ = select(blobs).where(_THIS)
_LOCK = PreparedSelect(
    select(blobs).where(is_any_of(blobs.c.key, "these")).order_by(blobs.c.key).with_for_update()
)
_INSERT = PreparedWrite(insert(blobs))
_UPDATE = PreparedWrite(update(blobs).where(_THIS))
_DELETE = PreparedWrite(delete(blobs).where(_THIS))
_AWAITED_BY = select(blobs.c.awaited_by).where(_THIS)
_DOOMED = (
    select(blobs)
    .where(blobs.c.due_at.is_not(None))
    .order_by(blobs.c.due_at, blobs.c.key)
    .limit(bindparam("most", type_=Integer))
)
_DUE = _DOOMED.where(blobs.c.due_at <= bindparam("now")).with_for_update(skip_locked=True)
_KEYS = select(blobs.c.key).where(
    blobs.c.store == bindparam("store"),
    blobs.c.key >= bindparam("first"),
    blobs.c.key <= bindparam("last"),
)
_KEPT = _KEYS.where(blobs.c.state == BlobState.KEPT.value)

_INSERT_PAGE = PreparedWrite(insert(block_checksums))
_REMOVE_PAGES = delete(block_checksums).where(block_checksums.c.key == bindparam("this"))
_READ_PAGE = select(block_checksums.c.checksums).where(
    block_checksums.c.key == bindparam("this"), block_checksums.c.page == bindparam("number")
)


def lock(db: Connection, keys: Collection[str]) -> dict[str, Blob]:
    """Lock and read the existing rows of these keys, in the order of the keys."""
    if not keys:
        return {}
    found = _LOCK.named_rows(db, {"these": list(keys)})
    return {row.key: rows.blob_of(row) for row in found}


def write(db: Connection, known: Mapping[str, Blob], settled: Iterable[Blob]) -> None:
    """Write the rows that differ from the known ones."""
    for blob in settled:
        before = known.get(blob.key)
        if before is None:
            _INSERT.execute(db, rows.blob_values(blob))
        elif blob != before:
            _UPDATE.execute(db, {**rows.blob_values(blob), "this": blob.key})


def get(db: Connection, key: str) -> Blob | None:
    """Read one row, if it exists."""
    row = db.execute(_READ, {"this": key}).first()
    return None if row is None else rows.blob_of(row)


def take_doomed(db: Connection, limit: int, busy_for: timedelta) -> Sequence[Blob]:
    """Take blobs that are due, and hide them for a while. Skips those that another caller has
    locked.
    """
    now = dialects.now(db)
    due = [rows.blob_of(row) for row in db.execute(_DUE, {"now": now, "most": limit})]
    taken = [blob_rules.start_deletion(blob, now, busy_for) for blob in due]
    write(db, {blob.key: blob for blob in due}, taken)
    return taken


def list_doomed(db: Connection, limit: int) -> Sequence[Blob]:
    """Read doomed blobs, the longest due first."""
    return [rows.blob_of(row) for row in db.execute(_DOOMED, {"most": limit})]


def record_upload_id(db: Connection, key: str, upload_id: str) -> None:
    """Record the store's own id of a write. Raises BlobGone."""
    known = lock(db, [key])
    if key not in known:
        raise BlobGone(key)
    write(db, known, [blob_rules.record_upload_id(known[key], upload_id)])


def recheck_later(db: Connection, key: str, after: timedelta) -> None:
    """Record that a doomed blob was deleted and is to be checked once more."""
    known = lock(db, [key])
    if key in known and known[key].state is BlobState.DOOMED:
        write(db, known, [blob_rules.schedule_recheck(known[key], dialects.now(db), after)])


def reschedule(db: Connection, key: str, why: str) -> Blob | None:
    """Record that deleting a doomed blob failed."""
    known = lock(db, [key])
    if key not in known or known[key].state is not BlobState.DOOMED:
        return None
    blob = blob_rules.reschedule(known[key], dialects.now(db), why)
    write(db, known, [blob])
    return blob


def remove_blob(db: Connection, key: str, by: Actor) -> Image | None:
    """Remove a doomed row and its location; returns the image that became deleted by it.

    The image is known before anything is locked: ``awaited_by`` of a doomed row never changes. A
    row that was doomed in the meantime is left alone, as if this call had come first.
    """
    awaited_by = db.execute(_AWAITED_BY, {"this": key}).scalar()
    if awaited_by is not None:
        image_rows.lock(db, awaited_by)
    blob = lock(db, [key]).get(key)
    if blob is None or blob.state is not BlobState.DOOMED or blob.awaited_by != awaited_by:
        return None
    deleted = None if awaited_by is None else _leave_image(db, awaited_by, key, by)
    _DELETE.execute(db, {"this": key})
    return deleted


def add_stray(db: Connection, location: Location, quarantine: timedelta) -> bool:
    """Doom bytes that have no row. Returns whether they had none."""
    blob = ledger.doomed_stray(location, dialects.now(db) + quarantine)
    return dialects.insert_or_ignore(db, blobs, rows.blob_values(blob))


def list_keys(db: Connection, store: str, prefix: str) -> Collection[str]:
    """Read the keys of a store with this prefix."""
    span = {"store": store, "first": prefix, "last": prefix + BEHIND_ALL}
    return set(db.execute(_KEYS, span).scalars())


def list_kept(db: Connection, store: str, prefix: str) -> Collection[str]:
    """Read those of the keys whose bytes are complete and referenced."""
    span = {"store": store, "first": prefix, "last": prefix + BEHIND_ALL}
    return set(db.execute(_KEPT, span).scalars())


def get_checksums(db: Connection, key: str, page: int) -> bytes | None:
    """Read one page, if it exists."""
    checksums: bytes | None = db.execute(_READ_PAGE, {"this": key, "number": page}).scalar()
    return checksums


def add_checksums(db: Connection, key: str, checksums: bytes) -> None:
    """Insert those of a blob that has none. The blob's row is locked."""
    pages = [{"key": key, "page": page, "checksums": part} for page, part in pages_of(checksums)]
    _INSERT_PAGE.execute_all(db, pages)


def replace_checksums(db: Connection, key: str, checksums: bytes) -> None:
    """Replace the existing ones if the blob is complete and referenced."""
    known = lock(db, [key]).get(key)
    if known is None or known.state is not BlobState.KEPT:
        return
    db.execute(_REMOVE_PAGES, {"this": key})
    if checksums:
        add_checksums(db, key, checksums)


def _leave_image(db: Connection, image_id: str, key: str, by: Actor) -> Image | None:
    before = image_rows.read(db, image_id)
    now = dialects.now(db)
    after = ledger.settle_scrubbed(before, key, now)
    image_rows.write(db, before, after, by, now)
    return after if after.status is not before.status else None
