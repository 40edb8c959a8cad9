"""What every store does when blobs are deleted."""

from __future__ import annotations

import asyncio

import pytest

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import (
    PausedBody,
    all_keys,
    body,
    new_key,
    read_all,
    some_bytes,
)
from imaged.core.errors import BlobMissing, StoreError, WriteDiscarded
from imaged.core.limits import MIB
from imaged.ports.meter import ignore_measurement
from imaged.ports.store import BatchDeletion, Store
from imaged.stores.metered import meter_store


class DeletingContract:
    """Deleted permanently, complete or unfinished; a write that had begun never completes."""

    async def test_a_deleted_blob_is_gone(self, store: Store, door: StoreBackdoor) -> None:
        """For readers, in lists, and behind the store; to delete it again is no error."""
        key = new_key()
        await store.put(key, body(b"bytes"))

        for _ in range(2):
            await store.delete(key)

            assert await door.read_raw(key) is None
            assert await all_keys(store) == []
            with pytest.raises(BlobMissing):
                await read_all(store, key)

    @pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "not whole"])
    @pytest.mark.parametrize("is_unfinished", [True, False], ids=["unfinished", "finished"])
    async def test_what_others_left_is_deleted(
        self, store: Store, door: StoreBackdoor, *, is_whole: bool, is_unfinished: bool
    ) -> None:
        """A delete finds what the layout says: blobs of other writers, leftovers of a crash, both
        after a crash during a commit, or nothing.
        """
        key = new_key()
        if is_whole:
            await door.plant(key, b"bytes")
        if is_unfinished:
            await door.write_unfinished(key, b"bytes")

        await store.delete(key)

        assert await door.read_raw(key) is None
        assert await all_keys(store) == []

    async def test_many_deletes_at_once(self, store: Store, door: StoreBackdoor) -> None:
        """Several scrubbers may delete the same blob."""
        keys = [new_key() for _ in range(5)]
        for key in keys:
            await door.plant(key, b"bytes")

        await asyncio.gather(*[store.delete(key) for key in keys * 3])

        assert await all_keys(store) == []

    @pytest.mark.parametrize("before", [b"", b"first", some_bytes(3 * MIB)])
    @pytest.mark.parametrize("after", [b"", b"last", some_bytes(2 * MIB)])
    async def test_a_write_that_was_deleted_is_never_completed(
        self, store: Store, door: StoreBackdoor, before: bytes, after: bytes
    ) -> None:
        """At any progress: the writer gets an error, and nothing appears."""
        key, paused = new_key(), PausedBody(before, after)
        task = asyncio.create_task(store.put(key, paused))
        await paused.halted()

        await store.delete(key)
        paused.release()
        with pytest.raises(WriteDiscarded) as discarded:
            await task

        assert discarded.value.key == key
        assert await door.read_raw(key) is None
        assert await all_keys(store) == []

    @pytest.mark.parametrize("patience", [*range(12), 20, 50, 100, 200, 500, 1000])
    async def test_a_delete_at_any_moment_is_final(
        self, store: Store, door: StoreBackdoor, patience: int
    ) -> None:
        """Whatever the writer was doing when the delete came."""
        key, paused = new_key(), PausedBody(b"", b"all of it")
        task = asyncio.create_task(store.put(key, paused))
        await paused.halted()  # before the write begins, a delete has no effect on it
        paused.release()
        for _ in range(patience):
            await asyncio.sleep(0)

        await store.delete(key)
        (result,) = await asyncio.gather(task, return_exceptions=True)

        assert result == 9 or isinstance(result, WriteDiscarded)
        assert await door.read_raw(key) is None
        assert key not in await all_keys(store)


class BatchDeletionContract:
    """Many are deleted in one call, each as if it were alone."""

    @pytest.mark.parametrize("is_metered", [False, True])
    async def test_many_are_deleted_in_one_call(
        self, store: Store, door: StoreBackdoor, *, is_metered: bool
    ) -> None:
        """Complete or unfinished, in the same folder or not; missing ones are gone too."""
        kept, *keys = [new_key() for _ in range(6)]
        for key in (kept, *keys[:2]):
            await store.put(key, body(b"bytes"))
        await door.write_unfinished(keys[2], b"bytes")
        either = meter_store(store, ignore_measurement) if is_metered else store
        assert isinstance(either, BatchDeletion)

        for _ in range(2):
            assert set(await either.delete_batch(keys)) == set(keys)

        assert await all_keys(store) == [kept]
        assert [await door.read_raw(key) for key in keys] == [None] * 5

    async def test_no_key_is_deleted_with_a_wrong_one(self, store: Store) -> None:
        """A name that is no key might be a file of others."""
        key = new_key()
        await store.put(key, body(b"bytes"))
        assert isinstance(store, BatchDeletion)

        with pytest.raises(StoreError):
            await store.delete_batch([key, "../other"])

        assert await all_keys(store) == [key]
