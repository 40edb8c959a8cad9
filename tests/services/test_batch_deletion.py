"""Blobs that a store deletes in batches, and what becomes of those that a batch leaves."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.errors import CatalogError, StoreError
from imaged.testing.memory_store import MemoryStore
from support.cluster import Cluster
from support.faults import catalog_fails, override_calls
from support.node import image_id

pytestmark = pytest.mark.anyio


class BatchStore(MemoryStore):
    """A store that deletes in batches, but for ``stubborn`` keys, and counts its calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.batches: list[int] = []
        self.alone: list[str] = []
        self.stubborn: set[str] = set()
        self.hangs = self.refuses_batches = False

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Delete it, unless it is stubborn."""
        self.alone.append(key)
        if key in self.stubborn:
            raise StoreError(self.name, "has a folder in its place")
        await super().delete(key, upload_id)

    async def delete_batch(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete those that are not stubborn."""
        self.batches.append(len(keys))
        if self.refuses_batches:
            raise StoreError(self.name, "has a disk error")
        if self.hangs:
            await anyio.sleep_forever()
        gone = [key for key in keys if key not in self.stubborn]
        for key in gone:
            await super().delete(key)
        return gone


@pytest.fixture
def store(cluster: Cluster) -> BatchStore:
    """The store of the cluster."""
    cluster.near = BatchStore("near")
    return cluster.near


async def test_a_batch_is_one_call_and_one_transaction(cluster: Cluster, store: BatchStore) -> None:
    """Quick batches are followed by larger ones."""
    keys = await cluster.doomed(*range(1, 61))
    removed: list[int] = []

    async def remove(keys: Collection[str]) -> Collection[str]:
        removed.append(len(keys))
        return await cluster.catalog.remove_blobs(keys)

    catalog = override_calls(cluster.catalog, remove_blobs=remove)
    report = await cluster.node(catalog=catalog).scrubber.run_due()

    assert (report.deleted, report.deleted_bytes) == (60, 60 * 10)
    assert not cluster.catalog.blobs
    assert store.batches == removed == [16, 32, 12]
    assert (store.alone, len(keys)) == ([], 60)


async def test_what_a_batch_leaves_is_deleted_alone(cluster: Cluster, store: BatchStore) -> None:
    """So its error is its own, and it is put off alone."""
    keys = await cluster.doomed(*range(1, 11))
    store.stubborn = {keys[3]}
    with capture_logs() as logs:
        report = await cluster.node().scrubber.run_due()

    assert (report.deleted, report.failed) == (9, 1)
    assert store.alone == [keys[3]]
    (blob,) = cluster.catalog.blobs.values()
    assert (blob.key, blob.failures) == (keys[3], 1)
    told = [line for line in logs if line["event"] == "blob.delete_failed"]
    assert [line["key"] for line in told] == [keys[3]]


async def test_a_refused_row_disturbs_no_other(cluster: Cluster, store: BatchStore) -> None:
    """The transaction of many rows is refused for one of them: each is removed alone."""
    keys = await cluster.doomed(*range(1, 11))

    async def refuse(key: str) -> None:
        if key == keys[0]:
            await catalog_fails()
        await cluster.catalog.remove_blob(key)

    calls = {"remove_blobs": catalog_fails, "remove_blob": refuse}
    node = cluster.node(catalog=override_calls(cluster.catalog, **calls))
    report = await node.scrubber.run_due()

    assert report.deleted == 9
    assert set(cluster.catalog.blobs) == {keys[0]}
    assert not store.blobs


async def test_a_locked_row_is_removed_alone(cluster: Cluster, store: BatchStore) -> None:
    """Others have locked it for a moment; its bytes are deleted twice, which never hurts."""
    keys = await cluster.doomed(1, 2, 3)

    async def leave_one(keys_now: Collection[str]) -> Collection[str]:
        await cluster.catalog.remove_blobs([key for key in keys_now if key != keys[1]])
        return {keys[1]}

    node = cluster.node(catalog=override_calls(cluster.catalog, remove_blobs=leave_one))
    report = await node.scrubber.run_due()

    assert (report.deleted, store.alone) == (3, [keys[1]])
    assert not cluster.catalog.blobs


async def test_a_batch_that_fails_is_deleted_one_by_one(
    cluster: Cluster, store: BatchStore
) -> None:
    """The error of one folder is no reason to keep what is in others."""
    keys = await cluster.doomed(*range(1, 11))
    store.refuses_batches = True
    report = await cluster.node().scrubber.run_due()

    assert (report.deleted, sorted(store.alone)) == (10, sorted(keys))
    assert not cluster.catalog.blobs


async def test_a_blob_that_waits_is_in_no_batch(cluster: Cluster, store: BatchStore) -> None:
    """Its last attempt failed a moment ago."""
    keys = await cluster.doomed(1, 2, 3)
    node = cluster.node()
    await node.scrubber.postponed.try_item(keys[0], catalog_fails)
    report = await node.scrubber.run_due()

    assert (report.deleted, store.batches, store.alone) == (2, [2], [])
    assert set(cluster.catalog.blobs) == {keys[0]}


async def test_a_batch_that_hangs(cluster: Cluster, store: BatchStore) -> None:
    """The first blob tells why; the store is left alone for the rest of the round."""
    keys = await cluster.doomed(*range(1, 41))
    store.hangs = True
    node = cluster.node()
    with anyio.fail_after(5 * 60), capture_logs() as logs:
        report = await node.scrubber.run_due()

    assert (report.deleted, report.failed, store.batches) == (0, 1, [16])
    (told,) = [line for line in logs if line["event"] == "blob.delete_failed"]
    assert told["error"] == "The store 'near' did not delete it within 60 s."
    store.hangs = False
    await anyio.sleep(3600)
    assert (await node.scrubber.run_due()).deleted == len(keys)


async def test_a_catalog_that_is_away_is_not_asked_for_each_row(
    cluster: Cluster, store: BatchStore
) -> None:
    """Each call may take its whole timeout; the rows are due again later."""
    keys = await cluster.doomed(*range(1, 11))
    asked: list[str] = []

    async def remove(key: str) -> None:
        asked.append(key)
        await catalog_fails()

    taken = False

    async def take(limit: int, busy_for: object) -> object:
        nonlocal taken
        if taken:
            await catalog_fails()
        taken = True
        return await cluster.catalog.take_doomed(limit, busy_for)  # type: ignore[arg-type]

    away = override_calls(
        cluster.catalog,
        take_doomed=take,
        remove_blobs=catalog_fails,
        remove_blob=remove,
        check=catalog_fails,
    )
    with pytest.raises(CatalogError):
        await cluster.node(catalog=away).scrubber.run_due()

    assert (asked, store.alone) == ([], [])
    assert set(cluster.catalog.blobs) == set(keys)


async def test_expiry_of_several_images_at_once(cluster: Cluster, store: BatchStore) -> None:
    """As many as are deleted at once; one that fails is put off, and others expire."""
    for number in range(1, 9):
        await cluster.active(image_id(number))
        await cluster.node().delete(image_id(number))
    await anyio.sleep(3600)
    busy, most = 0, 0

    async def modify(name: str, change: object) -> object:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await anyio.sleep(1)
        busy -= 1
        if name == image_id(3):
            await catalog_fails()
        return await cluster.catalog.modify_image(name, change)  # type: ignore[arg-type]

    node = cluster.node(catalog=override_calls(cluster.catalog, modify_image=modify))
    report = await node.scrubber.run_due()

    assert (report.expired, report.deleted) == (7, 7)
    assert most == node.scrubber.settings.concurrency
    assert len(store.blobs) == 1
