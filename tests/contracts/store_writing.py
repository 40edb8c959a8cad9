"""What every store does when it is written to."""

from __future__ import annotations

import asyncio
import itertools

import anyio
import pytest

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import (
    PausedBody,
    Verdict,
    all_keys,
    body,
    body_of,
    new_key,
    read_all,
    some_bytes,
)
from imaged.core.block import Block
from imaged.core.errors import BlobExists, BlobMissing
from imaged.core.limits import MIB
from imaged.ports.store import Store

ODD_SIZES = [0, 1, 2, 511, 4096, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 7]
SIZES = [pytest.param(some_bytes(size), MIB, id=f"{size}") for size in ODD_SIZES]
CUTS = [
    pytest.param(some_bytes(min(200 * cut, 2 * MIB + 5)), cut, id=f"cut at {cut}")
    for cut in (1, 7, MIB - 1, MIB + 1, 8 * MIB)
]
SPARSE = bytes(MIB) + some_bytes(300_000) + bytes(MIB) + b"x" + bytes(MIB)
WITH_ZEROS = [pytest.param(SPARSE, cut, id=f"zeros cut at {cut}") for cut in (MIB, 100_000)]
CHUNKS = [
    [[], [b""], [b"", b"ab", b"", b"", b"c", b""], [b""]],
    [[bytes([number % 256]) for number in range(3000)]],
    [[some_bytes(9 * MIB + 1)]],
]


class WritingContract:
    """Complete, durable and visible at once, or not at all."""

    @pytest.mark.parametrize(("data", "block_bytes"), [*SIZES, *CUTS, *WITH_ZEROS])
    async def test_bytes_arrive_whole(
        self, store: Store, door: StoreBackdoor, data: bytes, block_bytes: int
    ) -> None:
        """Unchanged, whatever their number and their cuts, though a store may not write zeros."""
        key = new_key()

        assert await store.put(key, body(data, block_bytes)) == len(data)
        assert await door.read_raw(key) == data
        assert await read_all(store, key) == data
        assert await all_keys(store) == [key]

    @pytest.mark.parametrize("chunks", CHUNKS, ids=["empty", "tiny", "enormous"])
    async def test_chunks_do_not_matter(
        self, store: Store, door: StoreBackdoor, chunks: list[list[bytes]]
    ) -> None:
        """They may be empty, more than one system call takes, or larger than usual."""
        key, data = new_key(), b"".join(itertools.chain(*chunks))

        assert await store.put(key, body_of(map(Block, chunks))) == len(data)
        assert await door.read_raw(key) == data

    @pytest.mark.parametrize("expected_bytes", [None, 0, 5, 4 * MIB])
    async def test_the_expected_size_is_no_promise(
        self, store: Store, door: StoreBackdoor, expected_bytes: int | None
    ) -> None:
        """The store counts for itself; its callers report a wrong announcement."""
        key = new_key()

        assert await store.put(key, body(b"12345"), expected_bytes) == 5
        assert await door.read_raw(key) == b"12345"

    @pytest.mark.parametrize("before", [b"", b"first", some_bytes(3 * MIB)])
    @pytest.mark.parametrize("after", [b"", b"last"])
    async def test_nothing_is_visible_before_the_end(
        self, store: Store, door: StoreBackdoor, before: bytes, after: bytes
    ) -> None:
        """While the body may still fail, the blob cannot be found, even if all bytes are there."""
        key, paused = new_key(), PausedBody(before, after)
        async with asyncio.TaskGroup() as group:
            put = group.create_task(store.put(key, paused))
            await paused.halted()

            assert await door.read_raw(key) is None
            with pytest.raises(BlobMissing):
                await read_all(store, key)

            paused.release()
        assert put.result() == len(before + after)
        assert await door.read_raw(key) == before + after

    async def test_a_key_is_never_used_again(self, store: Store, door: StoreBackdoor) -> None:
        """A second blob is refused before its body, by name, and the first is unchanged."""
        key = new_key()
        await store.put(key, body(b"first"))

        with pytest.raises(BlobExists) as refused:
            await store.put(key, body(b"", ending=Verdict("the body was asked")))

        assert (refused.value.key, refused.value.store) == (key, store.name)
        assert repr(store.name) in str(refused.value)
        assert key in str(refused.value)
        assert await door.read_raw(key) == b"first"

    @pytest.mark.parametrize("left", [b"older", None], ids=["whole", "unfinished"])
    async def test_what_a_former_life_left_is_not_replaced(
        self, store: Store, door: StoreBackdoor, left: bytes | None
    ) -> None:
        """A foreign file stays, and what a crash left: another attempt has another key."""
        key = new_key()
        await (door.write_unfinished(key, b"half") if left is None else door.plant(key, left))

        with pytest.raises(BlobExists):
            await store.put(key, body(b"newer"))

        assert await door.read_raw(key) == left

    async def test_writers_of_different_keys_do_not_meet(
        self, store: Store, door: StoreBackdoor
    ) -> None:
        """Many blobs are written at once, each as if it were alone."""
        datas = {new_key(): some_bytes(number * 100_000) for number in range(12)}

        await asyncio.gather(*[store.put(key, body(data, 7777)) for key, data in datas.items()])

        assert {key: await door.read_raw(key) for key in datas} == datas
        assert await all_keys(store) == sorted(datas)

    async def test_attempts_of_one_image_do_not_meet(
        self, store: Store, door: StoreBackdoor
    ) -> None:
        """An attempt that hangs does not disturb the next one of the same image."""
        first, second = new_key(), new_key()
        second = first[:40] + second[40:]
        paused = PausedBody(b"first, ", b"late")
        async with asyncio.TaskGroup() as group:
            group.create_task(store.put(first, paused))
            await paused.halted()

            await store.put(second, body(b"second"))

            paused.release()
        assert await door.read_raw(first) == b"first, late"
        assert await door.read_raw(second) == b"second"

    @pytest.mark.parametrize("size_bytes", [0, 5, 3 * MIB])
    async def test_a_verdict_at_the_end_prevents_the_commit(
        self, store: Store, door: StoreBackdoor, size_bytes: int
    ) -> None:
        """The exception propagates unchanged, nothing is visible, and a delete leaves nothing."""
        key, verdict = new_key(), Verdict("these bytes are not what they should be")

        with pytest.raises(Verdict) as raised:
            await store.put(key, body(some_bytes(size_bytes), ending=verdict))

        assert raised.value is verdict
        assert await door.read_raw(key) is None
        with pytest.raises(BlobMissing):
            await read_all(store, key)
        await store.delete(key)
        assert await all_keys(store) == []

    @pytest.mark.parametrize("kind", [OSError, ConnectionResetError, FileNotFoundError, ValueError])
    async def test_errors_of_the_body_are_not_the_stores(
        self, store: Store, kind: type[Exception]
    ) -> None:
        """Also an exception of a kind that the store may raise itself propagates unchanged."""
        ending = kind("of the body")

        with pytest.raises(kind) as raised:
            await store.put(new_key(), body(b"some", ending=ending))

        assert raised.value is ending

    @pytest.mark.parametrize("before", [b"", b"first", some_bytes(3 * MIB)])
    async def test_a_cancelled_write_leaves_nothing_visible(
        self, store: Store, door: StoreBackdoor, before: bytes
    ) -> None:
        """No blob is visible to any caller, and a delete leaves nothing."""
        key, paused = new_key(), PausedBody(before, b"last")
        async with anyio.create_task_group() as group:
            group.start_soon(store.put, key, paused)
            await paused.halted()
            group.cancel_scope.cancel()
        paused.release()

        assert await door.read_raw(key) is None
        with pytest.raises(BlobMissing):
            await read_all(store, key)
        await store.delete(key)
        assert await all_keys(store) == []

    @pytest.mark.parametrize("patience", [*range(12), 20, 50, 100, 200, 500, 1000])
    @pytest.mark.parametrize("expected_bytes", [None, 10])
    async def test_a_write_returns_or_was_never_there(
        self, store: Store, door: StoreBackdoor, patience: int, expected_bytes: int | None
    ) -> None:
        """Whenever it is cancelled: it returned and the blob is complete, or there is none."""
        key = new_key()
        task = asyncio.create_task(store.put(key, body(b"some bytes"), expected_bytes))
        for _ in range(patience):
            await asyncio.sleep(0)

        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)

        assert await door.read_raw(key) == (b"some bytes" if result == 10 else None)


class ExclusiveWritersContract:
    """The promise of stores that can refuse a name in the same step in which they give it.

    Nothing relies on it: a key is made for one attempt, and never reused.
    """

    async def test_one_of_two_writers_of_a_key_wins(
        self, store: Store, door: StoreBackdoor
    ) -> None:
        """The blob is one writer's, complete, and the other gets an error."""
        key, datas = new_key(), [some_bytes(2 * MIB), some_bytes(2 * MIB + 1)]

        results = await asyncio.gather(
            *[store.put(key, body(data)) for data in datas], return_exceptions=True
        )

        won = [data for data, result in zip(datas, results, strict=True) if result == len(data)]
        assert [await door.read_raw(key)] == won
        assert sum(isinstance(result, BlobExists) for result in results) == 1
