"""Readers of buckets fetch ranges ahead, by several requests, within the memory of their store."""

from __future__ import annotations

import asyncio

import pytest

from contracts.store_bodies import new_key, read_all, some_bytes
from contracts.store_bucket import BucketBackdoor, OnBucket, opened, settings_for, tuned
from imaged.core.limits import MIB
from imaged.stores.s3.reader import AHEAD_RANGE_BYTES, MAX_RANGES_AHEAD, S3Reader
from imaged.stores.s3.settings import S3Settings
from imaged.stores.s3.store import S3Store
from support.seaweedfs import SeaweedFS

SIZE = 27 * MIB + 5


class TestReadAhead(OnBucket):
    """Of a blob that takes a first range and three more."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def s3_settings(self, s3: SeaweedFS) -> S3Settings:
        """A folder of its own for each test."""
        return settings_for(s3.endpoint)

    @pytest.mark.parametrize(("start", "length"), [(0, 2 * MIB), (3, 5 * MIB + 1), (7, SIZE)])
    async def test_ranges_make_the_blob(
        self, store: S3Store, door: BucketBackdoor, start: int, length: int
    ) -> None:
        """Reads of any length return all bytes in order, and all memory is given back."""
        key, data = new_key(), some_bytes(SIZE)
        await door.plant(key, data)

        assert await read_all(store, key, start, length) == data[start:]
        assert store._client.read_ahead.held_bytes == 0

    async def test_a_reader_that_has_to_wait_gets_more_ranges(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """Up to a limit, and those that it leaves unread are given back."""
        key, held = new_key(), []
        await door.plant(key, some_bytes(SIZE))

        async with store.open(key) as reader:
            assert await reader.read(3 * MIB)
            held.append(store._client.read_ahead.held_bytes)
            for _ in range(8):
                assert await reader.read(3 * MIB)
                held.append(store._client.read_ahead.held_bytes)

        assert held[:2] == [0, AHEAD_RANGE_BYTES]
        assert max(held) <= (1 + MAX_RANGES_AHEAD) * AHEAD_RANGE_BYTES
        assert store._client.read_ahead.held_bytes == 0

    async def test_a_slow_reader_holds_one_range_ahead(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """Beside the one that it reads: everything was there whenever it asked."""
        key, data, read = new_key(), some_bytes(SIZE), b""
        await door.plant(key, data)

        async with store.open(key) as reader:
            while piece := await reader.read(MIB):
                read += piece
                await _until_fetched(reader)
                assert store._client.read_ahead.held_bytes <= 2 * AHEAD_RANGE_BYTES

        assert read == data

    async def test_without_memory_there_is_one_request_at_a_time(
        self, s3_settings: S3Settings, door: BucketBackdoor
    ) -> None:
        """No reader waits for memory that another one holds."""
        key, data = new_key(), some_bytes(SIZE)
        await door.plant(key, data)

        async with opened(tuned(s3_settings, read_ahead_bytes=AHEAD_RANGE_BYTES)) as store:
            async with store.open(key) as first:
                assert await first.read(5 * MIB)
                assert store._client.read_ahead.held_bytes == AHEAD_RANGE_BYTES
                assert await read_all(store, key) == data
            assert store._client.read_ahead.held_bytes == 0


async def _until_fetched(reader: S3Reader) -> None:
    fetching = [each._fetching for each in reader._ahead if each._fetching]
    if fetching:
        await asyncio.wait(fetching)
