"""What holds at every moment, whatever happened: an audit of catalog and stores, from behind.

Numbers in brackets are those of the invariants that nothing may ever break.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping

from imaged.core.blob import Blob, BlobState
from imaged.core.image import Image, Location
from imaged.core.lifecycle import FAILURE_EVENTS, RESTORE_EVENTS, Status
from imaged.core.quota import Account
from imaged.core.task import TaskStatus
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryStore
from support.quotas import usage, usage_by_owner

StoresByName = Mapping[str, MemoryStore]


def audit(catalog: MemoryCatalog, stores: StoresByName, rotten: Collection[str] = ()) -> None:
    """Fail if an image, a row, a lease or an account says what is not so.

    ``rotten``: the keys of bytes that a disk has changed, which are not what was recorded of them.
    """
    for image in catalog.images.values():
        _audit_work(image)
        _audit_data(image, catalog, stores, rotten)
    for blob in catalog.blobs.values():
        _audit_row(blob)
    _audit_holders(catalog)
    _audit_leases(catalog)
    _audit_tasks(catalog)
    _audit_accounts(catalog)


def audit_settled(
    catalog: MemoryCatalog, stores: StoresByName, rotten: Collection[str] = ()
) -> None:
    """Fail unless everything has come to rest: nothing under way, and nothing left over."""
    audit(catalog, stores, rotten)
    images = catalog.images.values()

    assert not catalog.leases, "STUCK"  # I1
    assert not [i for i in images if i.status in {Status.SAVING, Status.IMPORTING}], "STUCK"  # I1
    assert all(task.is_final for task in catalog.tasks.values()), "STUCK"  # I11
    rows = {(blob.store, blob.key) for blob in catalog.blobs.values()}
    held = {(place.store, key) for image in images for key, place in image.held.items()}
    kept = {(name, key) for name, s in stores.items() for key in (*s.blobs, *s.partial)}
    assert rows == held, f"UNNEEDED ROWS: {rows ^ held}"
    assert rows == kept, f"NO BYTES: {rows - kept}; NO ROWS: {kept - rows}"  # I3


def _audit_work(image: Image) -> None:
    if image.status is Status.SAVING:
        assert image.claim is not None, image
    if image.status not in FAILURE_EVENTS:
        assert image.claim is None, image
    if image.status is Status.IMPORTING:
        assert image.task is not None, image
        assert not image.task.is_final, image
        assert (image.task.status is TaskStatus.PROCESSING) == (image.claim is not None), image
    else:
        assert image.task is None, image
    if image.draft:
        assert image.status in {Status.IMPORTING, Status.DELETED}, image


def _audit_data(
    image: Image, catalog: MemoryCatalog, stores: StoresByName, rotten: Collection[str]
) -> None:
    for location in image.held.values():
        assert catalog.blobs[location.key].store == location.store, image
    if image.status in {Status.QUEUED, Status.KILLED, Status.DELETED}:
        assert not image.locations, image
        assert image.staged is None, image
    if image.status in RESTORE_EVENTS or image.deleted_from is not None:
        assert image.locations, f"{image.status} WITHOUT BYTES"  # I7
        assert image.staged is None, image
        for location in image.locations:
            assert catalog.blobs[location.key].state is BlobState.KEPT, "DOOMED, BUT NEEDED"  # I8
            if location.key not in rotten:
                _audit_bytes(image, location, stores)
    if image.is_expired:
        assert image.locations, "WAITS FOR NOTHING"
        assert {catalog.blobs[where.key].awaited_by for where in image.locations} == {image.id}


def _audit_bytes(image: Image, location: Location, stores: StoresByName) -> None:
    data, content = stores[location.store].blobs.get(location.key), image.content

    assert data is not None, f"{image.status} WITHOUT BYTES"  # I2
    assert content is not None, image
    assert len(data) == location.size_bytes == content.size_bytes, "WRONG SIZE"  # I2
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert content.checksum in {None, md5}, "WRONG CHECKSUM"  # I2
    found = hashlib.new(content.hash_algorithm, data).hexdigest()
    assert found == content.hash_value, "WRONG BYTES"  # I2, I6


def _audit_row(blob: Blob) -> None:
    doomed = blob.state is BlobState.DOOMED

    assert doomed == (blob.holders == 0), blob
    assert doomed == (blob.due_at is not None), blob


def _audit_holders(catalog: MemoryCatalog) -> None:
    holders = Counter(key for image in catalog.images.values() for key in image.held)
    claimed = {key for i in catalog.images.values() if i.claim is not None for key in i.held}
    for blob in catalog.blobs.values():
        assert blob.holders == holders[blob.key], ("HOLDERS", blob)  # I8
        if blob.state is BlobState.WRITING:
            assert blob.key in claimed, ("NO CLAIM WRITES", blob)


def _audit_leases(catalog: MemoryCatalog) -> None:
    claims = {i.claim: (i.id, None) for i in catalog.images.values() if i.claim is not None}
    of_tasks = {t.claim: (None, t.id) for t in catalog.tasks.values() if t.claim is not None}
    leases = {claim: (at.image_id, at.task_id) for claim, (_, at) in catalog.leases.items()}
    assert {**claims, **of_tasks} == leases, "LEASES"


def _audit_tasks(catalog: MemoryCatalog) -> None:
    for task in catalog.tasks.values():
        assert task.attempts <= task.max_attempts, task  # I11
        assert task.is_final == (task.expires_at is not None), task
        if task.writes is None:
            assert (task.status is TaskStatus.PROCESSING) == (task.claim is not None), task
        elif not task.is_final:
            assert catalog.images[task.writes].task == task, task
        if task.status is TaskStatus.SUCCESS and task.writes is not None:
            image = catalog.images.get(task.writes)
            assert image is None or not image.draft, "SUCCESS WITHOUT AN IMAGE"


def _audit_accounts(catalog: MemoryCatalog) -> None:
    used = usage_by_owner(catalog.images.values())
    for owner in used.keys() | catalog.accounts.keys():
        account = catalog.accounts.get(owner, Account(owner))
        assert account.usage == used.get(owner, usage()), ("QUOTA", account, used)  # I9
        for name, limit in account.limits.items():
            assert limit is None or account.usage[name] <= limit, ("OVER QUOTA", account)  # I9
