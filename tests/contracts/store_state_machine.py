"""Any order of operations on a store, compared with dictionaries after every step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import Verdict, all_keys, block_of, body, read_all, some_bytes
from imaged.core.blob import make_key
from imaged.core.block import Block
from imaged.core.errors import BlobExists, BlobMissing, WriteDiscarded
from imaged.ports.store import Store

IMAGES = [str(UUID(int=number << 120 | 7, version=4)) for number in (0x0A, 0x0B, 0xFF)]
SIZES = st.sampled_from([0, 1, 100, 4096, 70_000])
PREFIXES = st.sampled_from(["", "0", "0a", "0b/", "ff/ff"])

machine_settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class FedBody:
    """A body whose blocks come when the machine decides."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.asked = asyncio.Event()
        self.sent = b""

    async def __aiter__(self) -> AsyncIterator[Block]:
        self.asked.set()
        while (data := await self.queue.get()) is not None:
            yield block_of(data)


class StoreMachine(RuleBasedStateMachine):
    """``whole`` is what must be there; ``remains`` what may be listed besides."""

    keys: Bundle[str] = Bundle("keys")
    writes: Bundle[tuple[str, FedBody, asyncio.Task[int]]] = Bundle("writes")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.whole: dict[str, bytes] = {}
        self.remains: set[str] = set()
        self.deleted: set[str] = set()
        self.attempts = 0
        self.tasks: list[asyncio.Task[int]] = []

    async def make(self) -> tuple[Store, StoreBackdoor]:
        """A fresh store, and its back door."""
        raise NotImplementedError  # each driver's suite has one; hypothesis' class is no ABC

    @initialize()
    def begin(self) -> None:
        """Every run has a store of its own."""
        self.store, self.door = self.runner.run(self.make())

    def teardown(self) -> None:
        """Open writes are cancelled."""
        self.runner.run(self._cancel_all())
        self.runner.close()

    @rule(target=keys, image_id=st.sampled_from(IMAGES), size_bytes=SIZES)
    def put(self, image_id: str, size_bytes: int) -> str:
        """A blob is written."""
        key, data = self._new_key(image_id), some_bytes(size_bytes)
        assert self.runner.run(self.store.put(key, body(data, 1000))) == size_bytes
        self.whole[key] = data
        return key

    @rule(target=keys, image_id=st.sampled_from(IMAGES), size_bytes=SIZES)
    def put_what_is_refused(self, image_id: str, size_bytes: int) -> str:
        """A blob is written, and the verdict is negative."""
        key, refused = self._new_key(image_id), body(some_bytes(size_bytes), ending=Verdict("no"))
        with pytest.raises(Verdict):
            self.runner.run(self.store.put(key, refused))
        self.remains.add(key)
        return key

    @rule(target=keys, image_id=st.sampled_from(IMAGES), size_bytes=SIZES)
    def crash(self, image_id: str, size_bytes: int) -> str:
        """Another process dies while it writes."""
        key = self._new_key(image_id)
        self.runner.run(self.door.write_unfinished(key, some_bytes(size_bytes)))
        self.remains.add(key)
        return key

    @rule(key=keys)
    def put_again(self, key: str) -> None:
        """A key is used twice."""
        if key in self.whole:
            with pytest.raises(BlobExists):
                self.runner.run(self.store.put(key, body(b"other")))

    @rule(target=writes, image_id=st.sampled_from(IMAGES))
    def begin_write(self, image_id: str) -> tuple[str, FedBody, asyncio.Task[int]]:
        """A long write begins."""

        async def start() -> tuple[str, FedBody, asyncio.Task[int]]:
            key, fed = self._new_key(image_id), FedBody()
            task = asyncio.create_task(self.store.put(key, fed))
            self.tasks.append(task)
            await fed.asked.wait()
            self.remains.add(key)
            return key, fed, task

        return self.runner.run(start())

    @rule(write=writes, size_bytes=SIZES)
    def feed(self, write: tuple[str, FedBody, asyncio.Task[int]], size_bytes: int) -> None:
        """Some more of it comes."""
        _key, fed, task = write
        if not task.done():
            fed.sent += some_bytes(size_bytes)
            fed.queue.put_nowait(some_bytes(size_bytes))

    @rule(target=keys, write=consumes(writes))
    def finish_write(self, write: tuple[str, FedBody, asyncio.Task[int]]) -> str:
        """It completes, unless it was deleted."""
        key, fed, task = write
        fed.queue.put_nowait(None)
        if key in self.deleted:
            with pytest.raises(WriteDiscarded):
                self.runner.run(_result(task))
        else:
            assert self.runner.run(_result(task)) == len(fed.sent)
            self.whole[key] = fed.sent
            self.remains.discard(key)
        return key

    @rule(target=keys, write=consumes(writes))
    def cancel_write(self, write: tuple[str, FedBody, asyncio.Task[int]]) -> str:
        """It is cancelled, unless it had failed before."""
        key, _fed, task = write
        task.cancel()
        with pytest.raises((asyncio.CancelledError, WriteDiscarded)):
            self.runner.run(_result(task))
        return key

    @rule(write=writes)
    def delete_write(self, write: tuple[str, FedBody, asyncio.Task[int]]) -> None:
        """It is deleted during the write."""
        self.delete(write[0])

    @rule(key=keys)
    def delete(self, key: str) -> None:
        """A blob, its leftovers, or nothing is deleted."""
        self.runner.run(self.store.delete(key))
        self.whole.pop(key, None)
        self.remains.discard(key)
        self.deleted.add(key)

    @rule(key=keys, start=st.integers(0, 5000), length=st.integers(1, 5000))
    def read(self, key: str, start: int, length: int) -> None:
        """A blob is read, or is missing."""
        if key in self.whole:
            assert (
                self.runner.run(read_all(self.store, key, start, length))
                == (self.whole[key][start:])
            )
        else:
            with pytest.raises(BlobMissing):
                self.runner.run(read_all(self.store, key))

    @rule(prefix=PREFIXES)
    def list_some(self, prefix: str) -> None:
        """The keys with this prefix."""
        self._compare(prefix)

    @invariant()
    def nothing_else_is_there(self) -> None:
        """The keys and their bytes equal the model's."""
        if hasattr(self, "store"):
            self._compare("")
            for key, data in self.whole.items():
                assert self.runner.run(self.door.read_raw(key)) == data
            for key in self.remains | self.deleted:
                assert self.runner.run(self.door.read_raw(key)) is None

    def _compare(self, prefix: str) -> None:
        listed = self.runner.run(all_keys(self.store, prefix))
        whole = {key for key in self.whole if key.startswith(prefix)}
        remains = {key for key in self.remains if key.startswith(prefix)}
        assert len(listed) == len({*listed})
        assert whole <= {*listed} <= whole | remains

    async def _cancel_all(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _new_key(self, image_id: str) -> str:
        self.attempts += 1
        return make_key(image_id, UUID(int=self.attempts))


async def _result(task: asyncio.Task[Any]) -> Any:
    return await task
