"""What every store does when blobs are deleted."""

from __future__ import annotations

import asyncio

import pytest

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import (
    PausedBody,
    Verdict,
    all_keys,
    body,
    new_key,
    read_all,
    some_bytes,
)
from imaged.core.errors import BlobMissing, WriteDiscarded
from imaged.core.limits import MIB
from imaged.ports.store import Store


class DeletingContract:
    """Deleted permanently, complete or unfinished; a write that had begun never completes."""

    async def test_a_deleted_blob_is_gone(self, store: Store, door: StoreBackdoor) -> None:
        """For readers, in lists, and behind the store."""
        key = new_key()
        await store.put(key, body(b"bytes"))

        await store.delete(key)

        assert await door.read_raw(key) is None
        assert await all_keys(store) == []
        with pytest.raises(BlobMissing):
            await read_all(store, key)

    @pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "unfinished"])
    async def test_what_others_left_is_deleted(
        self, store: Store, door: StoreBackdoor, *, is_whole: bool
    ) -> None:
        """A delete finds what the layout says: blobs of other writers, leftovers of a crash."""
        key = new_key()
        await (door.plant if is_whole else door.write_unfinished)(key, b"bytes")

        await store.delete(key)

        assert await door.read_raw(key) is None
        assert await all_keys(store) == []

    async def test_nothing_to_delete_is_fine(self, store: Store) -> None:
        """A delete of a missing blob is no error."""
        await store.delete(new_key())

        assert await all_keys(store) == []

    async def test_a_delete_may_come_twice(self, store: Store) -> None:
        """The second one has nothing to do, and succeeds."""
        key = new_key()
        await store.put(key, body(b"bytes"))

        await store.delete(key)
        await store.delete(key)

        assert await all_keys(store) == []

    async def test_many_deletes_at_once(self, store: Store, door: StoreBackdoor) -> None:
        """Several scrubbers may delete the same blob."""
        keys = [new_key() for _ in range(5)]
        for key in keys:
            await door.plant(key, b"bytes")

        await asyncio.gather(*[store.delete(key) for key in keys * 3])

        assert await all_keys(store) == []

    async def test_others_stay(self, store: Store, door: StoreBackdoor) -> None:
        """Also another attempt of the same image."""
        first, second = new_key(), new_key()
        second = first[:40] + second[40:]
        await door.plant(first, b"first")
        await door.plant(second, b"second")

        await store.delete(first)

        assert await door.read_raw(second) == b"second"
        assert await all_keys(store) == [second]

    async def test_whole_and_unfinished_go_together(
        self, store: Store, door: StoreBackdoor
    ) -> None:
        """A crash during a commit may leave both."""
        key = new_key()
        await door.plant(key, b"whole")
        await door.write_unfinished(key, b"whole")

        await store.delete(key)

        assert await door.read_raw(key) is None
        assert await all_keys(store) == []

    async def test_leftovers_of_a_failure_are_deleted(self, store: Store) -> None:
        """A failed write leaves nothing that its delete does not remove."""
        key = new_key()
        with pytest.raises(Verdict):
            await store.put(key, body(some_bytes(MIB), ending=Verdict("no")))

        await store.delete(key)

        assert await all_keys(store) == []

    async def test_leftovers_of_a_cancellation_are_deleted(self, store: Store) -> None:
        """Nor does a cancelled one."""
        key, paused = new_key(), PausedBody(b"half")
        task = asyncio.create_task(store.put(key, paused))
        await paused.halted()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        await store.delete(key)

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
