"""The store in memory passes the contract."""

from __future__ import annotations

import anyio
import pytest

from contracts.store import StoreContract
from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import all_keys, block_of, body, new_key, read_all
from contracts.store_reading import LastingReadersContract
from contracts.store_refusing import LimitedStoreContract
from contracts.store_state_machine import StoreMachine, machine_settings
from contracts.store_writing import ExclusiveWritersContract
from imaged.core.limits import MIB
from imaged.core.summary import StoreSpace
from imaged.ports.store import Store
from imaged.testing.memory_store import MemoryStore


class MemoryBackdoor:
    """The dictionaries behind a MemoryStore."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def plant(self, key: str, data: bytes) -> None:
        """Insert a complete blob."""
        self._store.blobs[key] = data

    async def write_unfinished(self, key: str, data: bytes) -> None:
        """Insert what a crash leaves of a write."""
        self._store.partial[key] = data

    async def write_foreign(self) -> None:
        """No other program can write into this store."""

    async def read_raw(self, key: str) -> bytes | None:
        """The bytes of a complete blob."""
        return self._store.blobs.get(key)


class TestMemoryStore(
    StoreContract, ExclusiveWritersContract, LastingReadersContract, LimitedStoreContract
):
    """The contract, and what counts for the limit."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Empty, without a limit."""
        return MemoryStore("local")

    @pytest.fixture
    def door(self, store: MemoryStore) -> StoreBackdoor:
        """A back door to it."""
        return MemoryBackdoor(store)

    @pytest.fixture
    def small_store(self) -> MemoryStore:
        """Room for 4 MiB."""
        return MemoryStore("local", 4 * MIB)

    @pytest.fixture
    def small_door(self, small_store: MemoryStore) -> StoreBackdoor:
        """A back door to it."""
        return MemoryBackdoor(small_store)

    async def test_room_is_counted(self, small_store: MemoryStore) -> None:
        """Unfinished writes count."""
        await small_store.begin(new_key())
        key = new_key()
        await small_store.begin(key)
        await small_store.append(key, block_of(bytes(MIB)))

        assert await small_store.space() == StoreSpace(4 * MIB, 3 * MIB, 0)


def test_it_runs_wherever_anyio_does() -> None:
    """Also on trio, which gives simulations virtual time."""

    async def journey() -> tuple[int, bytes, list[str]]:
        store, key = MemoryStore("local"), new_key()
        size_bytes = await store.put(key, body(b"some bytes"))
        data = await read_all(store, key, 5)
        await store.delete(key)
        return size_bytes, data, await all_keys(store)

    assert anyio.run(journey, backend="trio") == (10, b"bytes", [])


class MemoryStoreMachine(StoreMachine):
    """Any order of operations."""

    async def make(self) -> tuple[Store, StoreBackdoor]:
        """A fresh store."""
        store = MemoryStore("local")
        return store, MemoryBackdoor(store)


TestMemoryStoreMachine = MemoryStoreMachine.TestCase
TestMemoryStoreMachine.settings = machine_settings
