"""What every store lists."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import PausedBody, all_keys, new_key
from imaged.ports.store import Store

KEYS = (
    "0a/0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
    "0a/0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000002",
    "0a/0af00000-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
    "0b/0b3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
    "ff/ff3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
)
PREFIXES = ["", "0", "0a", "0a/", "0a/0a3b", KEYS[0][:39], KEYS[0][:40], KEYS[0], "f", "ff/", "9"]
STRANGE_PREFIXES = ["0a/0b", "/", "..", ".tmp", "0A", KEYS[0] + "0", "0a/0a3b/", "*"]


class ListingContract:
    """Every key with bytes, each once, and nothing else."""

    async def test_each_once(self, store: Store, door: StoreBackdoor) -> None:
        """Also a blob that is there both complete and unfinished."""
        await door.plant(KEYS[0], b"whole")
        await door.write_unfinished(KEYS[0], b"whole")

        assert await all_keys(store) == [KEYS[0]]

    @pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "unfinished"])
    async def test_blobs_by_prefix(
        self, store: Store, door: StoreBackdoor, *, is_whole: bool
    ) -> None:
        """Those with this prefix, wherever it ends, or they would never be found; an unknown one
        finds nothing.
        """
        for key in KEYS:
            await (door.plant if is_whole else door.write_unfinished)(key, b"bytes")

        for prefix in PREFIXES + STRANGE_PREFIXES:
            listed = await all_keys(store, prefix)
            assert listed == [key for key in KEYS if key.startswith(prefix)], prefix

    async def test_things_of_others(self, store: Store, door: StoreBackdoor) -> None:
        """Names that are not keys are foreign, and not listed."""
        await door.plant(KEYS[0], b"ours")
        await door.write_foreign()

        assert await all_keys(store) == [KEYS[0]]

    async def test_a_write_under_way(self, store: Store) -> None:
        """It has its key from the beginning, and keeps it when it completes."""
        paused = PausedBody(b"half")
        async with asyncio.TaskGroup() as group:
            group.create_task(store.put(KEYS[0], paused))
            await paused.halted()

            assert await all_keys(store) == [KEYS[0]]

            paused.release()
        assert await all_keys(store) == [KEYS[0]]

    async def test_a_list_may_be_left_early(self, store: Store, door: StoreBackdoor) -> None:
        """A caller need not read all of it."""
        for key in KEYS:
            await door.plant(key, b"bytes")

        async with aclosing(store.list_keys()) as keys:  # type: ignore[type-var]  # a generator
            async for key in keys:
                assert key in KEYS
                break

    async def test_deleting_what_is_being_listed(self, store: Store, door: StoreBackdoor) -> None:
        """The usual way to empty a store."""
        for key in [*KEYS, *[new_key() for _ in range(20)]]:
            await door.plant(key, b"bytes")

        async for key in store.list_keys():
            await store.delete(key)

        assert await all_keys(store) == []
