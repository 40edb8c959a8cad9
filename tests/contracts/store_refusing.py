"""What every store refuses, and its errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import Verdict, all_keys, body, new_key, read_all, some_bytes
from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.ports.store import Store

KEY = "0a/0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001"
NO_KEYS = [
    "",
    "x",
    "/",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "0a",
    "0a/",
    ".tmp/" + KEY[3:],
    "0b" + KEY[2:],
    KEY.upper(),
    KEY + "\n",
    KEY + "\0",
    KEY + "/x",
    KEY + "0",
    KEY[:-1],
    " " + KEY,
    KEY.replace("/", "//"),
    KEY.replace("/", "/../0a/"),
    KEY.replace("0", "\N{FULLWIDTH DIGIT ZERO}"),
    "%2e%2e/" + KEY[3:],
]
STORE_CALLS: dict[str, Callable[[Store, str], Awaitable[object]]] = {
    "put": lambda store, key: store.put(key, body(b"bytes")),
    "read": read_all,
    "delete": lambda store, key: store.delete(key),
}


class RefusingContract:
    """Errors by type and text."""

    @pytest.mark.parametrize("key", NO_KEYS)
    @pytest.mark.parametrize("operation", STORE_CALLS)
    async def test_only_keys_are_keys(self, store: Store, operation: str, key: str) -> None:
        """No other name ever reaches the storage."""
        with pytest.raises(StoreError, match="not a key"):
            await STORE_CALLS[operation](store, key)

        assert await all_keys(store) == []

    async def test_a_usable_store_passes_its_check(self, store: Store) -> None:
        """Any number of times, and without a trace."""
        await store.check()
        await store.check()

        assert await all_keys(store) == []

    async def test_space_is_known_or_without_a_limit(self, store: Store) -> None:
        """There is no more free space than the store has, and asking is never an error."""
        space = await store.space()

        assert space is None or 0 < space.free_bytes <= space.size_bytes


class LimitedStoreContract:
    """An ability of some stores: a limit. ``small_store`` has room for 4 MiB."""

    async def test_too_much_is_refused_before_the_body(self, small_store: Store) -> None:
        """If it is known that the bytes do not fit, none is requested."""
        never = body(b"", ending=Verdict("the body was asked"))

        with pytest.raises(StoreFull) as full:
            await small_store.put(new_key(), never, 5 * MIB)

        assert full.value.store == small_store.name
        assert repr(small_store.name) in str(full.value)
        assert await all_keys(small_store) == []

    @pytest.mark.parametrize("expected_bytes", [None, MIB])
    async def test_too_much_is_refused_on_the_way(
        self, small_store: Store, small_door: StoreBackdoor, expected_bytes: int | None
    ) -> None:
        """A body that turns out too long ends in the same error, and nothing is visible."""
        key = new_key()

        with pytest.raises(StoreFull):
            await small_store.put(key, body(some_bytes(9 * MIB)), expected_bytes)

        assert await small_door.read_raw(key) is None

    async def test_there_is_room_again_after_a_delete(
        self, small_store: Store, small_door: StoreBackdoor
    ) -> None:
        """A full store is still read, and recovers by itself as soon as a blob is deleted."""
        first, second, data = new_key(), new_key(), some_bytes(3 * MIB)
        await small_store.put(first, body(data))
        with pytest.raises(StoreFull):
            await small_store.put(second, body(data))
        assert await read_all(small_store, first) == data

        await small_store.delete(first)
        await small_store.delete(second)
        third = new_key()
        await small_store.put(third, body(data), len(data))

        assert await small_door.read_raw(third) == data
