"""Measured stores: only the reports to the meter are added.

The wrapper passes the contract over the store in memory, and has the abilities of that in a bucket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

import pytest
import pytest_asyncio

from contracts.store import StoreContract
from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import Verdict, body, new_key, read_all
from contracts.store_bucket import BucketBackdoor, opened
from contracts.store_reading import LastingReadersContract
from contracts.store_refusing import LimitedStoreContract
from contracts.store_writing import ExclusiveWritersContract
from imaged.core.block import Block
from imaged.core.errors import BlobMissing
from imaged.core.limits import MIB
from imaged.ports.meter import STORE_OPERATIONS, Meter, ignore_measurement
from imaged.ports.store import Closeable, PresignedDownload, SelfTesting, ServerSideCopy, Store
from imaged.stores.metered import MeteredStore, meter_store
from imaged.stores.s3.settings import S3Settings
from imaged.testing.memory_store import MemoryStore
from stores.test_memory import MemoryBackdoor

ABILITIES = (SelfTesting, Closeable, ServerSideCopy, PresignedDownload)


class Notes:
    """Records what a meter is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, type[BaseException] | None]] = []
        self.seconds: list[float] = []

    def __call__(self, what: str, seconds: float, error: BaseException | None) -> None:
        """Is a ``Meter``."""
        self.told.append((what, None if error is None else type(error)))
        self.seconds.append(seconds)


class TestMeasuredMemoryStore(
    StoreContract, ExclusiveWritersContract, LastingReadersContract, LimitedStoreContract
):
    """Everything that the inner store promises."""

    @pytest.fixture
    def store(self) -> Store:
        """Empty, without a limit."""
        return meter_store(MemoryStore("local"), ignore_measurement)

    @pytest.fixture
    def door(self, store: MeteredStore) -> StoreBackdoor:
        """A back door to it."""
        return memory_backdoor(store)

    @pytest.fixture
    def small_store(self) -> Store:
        """Room for 4 MiB."""
        return meter_store(MemoryStore("local", 4 * MIB), ignore_measurement)

    @pytest.fixture
    def small_door(self, small_store: MeteredStore) -> StoreBackdoor:
        """A back door to it."""
        return memory_backdoor(small_store)


class TestMeasuredS3Store:
    """Every ability."""

    pytestmark = pytest.mark.asyncio

    @pytest_asyncio.fixture
    async def store(self, s3_settings: S3Settings) -> AsyncIterator[Store]:
        """Empty, audited at the end."""
        async with opened(s3_settings) as store:
            yield meter_store(store, ignore_measurement)

    async def test_it_has_every_ability(self, store: Store) -> None:
        """With or without a meter."""
        assert all(isinstance(store, ability) for ability in ABILITIES)

    async def test_it_copies_from_measured_stores(
        self, store: Store, s3_settings: S3Settings
    ) -> None:
        """The inner store of the source decides."""
        assert isinstance(store, ServerSideCopy)
        key, copy = new_key(), new_key()
        await store.put(key, body(b"bytes"))

        assert store.can_copy_from(store)
        assert not store.can_copy_from(meter_store(MemoryStore("other"), ignore_measurement))
        assert await store.copy_from(store, key, copy) == 5
        assert await BucketBackdoor(s3_settings).read_raw(copy) == b"bytes"


@pytest.mark.asyncio
async def test_operations_are_told_with_how_they_ended() -> None:
    """Each operation by its name, when it has ended."""
    notes = Notes()
    store, key = measured(notes), new_key()
    await store.put(key, body(b"bytes"))
    await read_all(store, key)
    await store.check()
    await store.delete(key)
    with pytest.raises(BlobMissing):
        await read_all(store, key)

    assert notes.told[0] == ("put", None)
    assert set(notes.told[2:-3]) == {("read", None)}
    assert notes.told[-3:] == [("check", None), ("delete", None), ("open", BlobMissing)]
    assert {what for what, _ in notes.told} == set(STORE_OPERATIONS)


@pytest.mark.asyncio
async def test_waiting_for_a_client_is_not_the_stores_time() -> None:
    """A slow body does not count as a slow store."""
    notes = Notes()

    async def slow() -> AsyncIterator[Block]:
        for _ in range(3):
            await asyncio.sleep(0.1)
            yield Block([b"x"], 1)

    loop = asyncio.get_running_loop()
    began = loop.time()
    await measured(notes).put(new_key(), slow())
    took_seconds = loop.time() - began

    assert notes.told == [("put", None)]
    assert 0 <= notes.seconds[0] <= took_seconds - 0.3


@pytest.mark.asyncio
async def test_errors_of_the_body_pass_through() -> None:
    """It is reported too, as an error that is not the store's."""
    notes = Notes()

    with pytest.raises(Verdict):
        await measured(notes).put(new_key(), body(b"bytes", ending=Verdict("no")))

    assert notes.told == [("put", Verdict)]


@pytest.mark.asyncio
async def test_no_block_is_kept_while_more_is_awaited() -> None:
    """Its lifetime accounts for its memory."""
    freed: list[int] = []

    class Sink(MemoryStore):
        """Keeps nothing."""

        async def put(self, _key: str, blocks: AsyncIterable[Block], *_: object) -> int:
            size_bytes = 0
            async for block in blocks:
                size_bytes += block.size_bytes
                del block
            return size_bytes

    async def blocks() -> AsyncIterator[Block]:
        for number in range(3):
            yield Block([b"x"], 1, freed.append)
            await asyncio.sleep(0)
            assert len(freed) == number + 1

    assert await meter_store(Sink("local"), ignore_measurement).put(new_key(), blocks()) == 3


def test_only_a_store_with_abilities_has_them() -> None:
    """Checks for an ability get the same answer as from the inner store."""
    store = measured(Notes())

    assert not any(isinstance(store, ability) for ability in ABILITIES)


def measured(meter: Meter) -> Store:
    """A store in memory, with a meter."""
    return meter_store(MemoryStore("local"), meter)


def memory_backdoor(store: MeteredStore) -> MemoryBackdoor:
    """The dictionaries of the inner store."""
    assert isinstance(store.inner, MemoryStore)
    return MemoryBackdoor(store.inner)
