"""What every store does when it is read."""

from __future__ import annotations

import asyncio

import pytest

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import new_key, read_all, some_bytes
from imaged.core.errors import BlobMissing, StoreError
from imaged.core.limits import MIB
from imaged.ports.store import Store

SIZE = 2 * MIB + 3
OFFSETS = [0, 1, MIB - 1, MIB, MIB + 1, SIZE - 1, SIZE, SIZE + 1, SIZE + MIB]


class ReadingContract:
    """Exactly the bytes that were written, or an error."""

    @pytest.mark.parametrize("start", OFFSETS)
    async def test_reading_begins_at_an_offset(
        self, store: Store, door: StoreBackdoor, start: int
    ) -> None:
        """At the offset; at the end or behind it there is nothing left, and the size is the same.

        The store finds blobs where the layout says, not only those that it wrote.
        """
        key, data = new_key(), some_bytes(SIZE)
        await door.plant(key, data)

        assert await read_all(store, key, start) == data[start:]
        async with store.open(key, start) as reader:
            assert reader.size_bytes == SIZE

    @pytest.mark.parametrize("length", [1, 3, 100, 128, 129, 1000])
    async def test_reads_are_as_long_as_asked(
        self, store: Store, door: StoreBackdoor, length: int
    ) -> None:
        """Each read returns this many bytes, the last one the rest."""
        key, data = new_key(), some_bytes(128)
        await door.plant(key, data)

        async with store.open(key) as reader:
            parts = [await reader.read(length) for _ in range(0, len(data), length)]

        assert parts == [data[at : at + length] for at in range(0, len(data), length)]

    async def test_lengths_may_change(self, store: Store, door: StoreBackdoor) -> None:
        """A reader continues where it was, whatever the lengths."""
        key, data = new_key(), some_bytes(SIZE)
        await door.plant(key, data)

        async with store.open(key, 5) as reader:
            parts = [await reader.read(length) for length in (1, MIB, 7, SIZE)]

        assert [len(part) for part in parts] == [1, MIB, 7, SIZE - 5 - 1 - MIB - 7]
        assert b"".join(parts) == data[5:]

    @pytest.mark.parametrize("data", [b"", b"abc"])
    async def test_after_the_end_there_is_nothing_for_ever(
        self, store: Store, door: StoreBackdoor, data: bytes
    ) -> None:
        """The end is reported as often as it is reached."""
        key = new_key()
        await door.plant(key, data)

        async with store.open(key) as reader:
            assert await reader.read(10) == data
            assert [await reader.read(10) for _ in range(3)] == [b"", b"", b""]

    async def test_a_key_without_a_blob(self, store: Store) -> None:
        """The error comes before the block is entered, and names the key and the store."""
        key = new_key()

        with pytest.raises(BlobMissing) as missing:
            async with store.open(key):
                pytest.fail("there is nothing to be read")

        assert (missing.value.key, missing.value.store) == (key, store.name)
        assert repr(store.name) in str(missing.value)
        assert key in str(missing.value)

    async def test_an_unfinished_blob_is_not_read(self, store: Store, door: StoreBackdoor) -> None:
        """What a crash left of a write is no blob."""
        key = new_key()
        await door.write_unfinished(key, b"half")

        with pytest.raises(BlobMissing):
            await read_all(store, key)

    async def test_readers_do_not_meet(self, store: Store, door: StoreBackdoor) -> None:
        """Each has a position of its own in the blob."""
        key, data = new_key(), some_bytes(SIZE)
        await door.plant(key, data)

        parts = await asyncio.gather(*[read_all(store, key, at, 300_007) for at in range(8)])

        assert parts == [data[at:] for at in range(8)]

    async def test_a_reader_may_leave_early(self, store: Store, door: StoreBackdoor) -> None:
        """A caller need not read to the end, or at all."""
        key = new_key()
        await door.plant(key, some_bytes(SIZE))

        async with store.open(key):
            pass
        async with store.open(key) as reader:
            first = await reader.read(10)

        assert first == some_bytes(SIZE)[:10]

    async def test_errors_of_the_reader_are_not_the_stores(
        self, store: Store, door: StoreBackdoor
    ) -> None:
        """An exception in the block propagates unchanged."""
        key, error = new_key(), OSError("of whom the bytes are sent to")
        await door.plant(key, b"bytes")

        with pytest.raises(OSError, match="sent to") as raised:
            async with store.open(key):
                raise error

        assert raised.value is error

    async def test_a_reader_never_sees_a_deleted_blob_end_early(
        self, store: Store, door: StoreBackdoor
    ) -> None:
        """It reads on to the true end, or gets an error."""
        key, data = new_key(), some_bytes(SIZE)
        await door.plant(key, data)

        async with store.open(key) as reader:
            parts = [await reader.read(MIB)]
            await store.delete(key)
            try:
                parts += [await reader.read(MIB), await reader.read(MIB)]
            except StoreError:
                parts = [data]

        assert b"".join(parts) == data


class LastingReadersContract:
    """An ability of some stores: an open blob stays readable after its delete."""

    async def test_a_reader_outlives_its_blob(self, store: Store, door: StoreBackdoor) -> None:
        """A reader that was opened in time reads it to its end."""
        key, data = new_key(), some_bytes(SIZE)
        await door.plant(key, data)

        async with store.open(key, 1) as reader:
            await store.delete(key)
            assert await reader.read(SIZE) == data[1:]
            assert await reader.read(1) == b""

        with pytest.raises(BlobMissing):
            await read_all(store, key)
