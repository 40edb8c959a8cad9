"""A store that tells how long its operations take: the store within, and a meter.

Nothing else is different: blocks, and what is read, pass through as they are, one at a time, and
nobody keeps one. What ``put`` waits for its blocks is not the store's time, and is not told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta
from time import perf_counter
from typing import Protocol

from imaged.core.block import Block
from imaged.core.errors import StoreError
from imaged.ports.capabilities import Closeable, PresignedDownload, SelfTesting, ServerSideCopy
from imaged.ports.meter import Meter, Timing
from imaged.ports.store import BlobReader, RecordUploadId, Store, ignore_upload_id

#: What a meter is told of.
OPERATIONS = ("put", "open", "read", "delete", "check")


class CapableStore(Store, SelfTesting, Closeable, ServerSideCopy, PresignedDownload, Protocol):
    """A store with every ability of ``ports/capabilities.py``."""


def meter_store(store: Store, meter: Meter) -> Store:
    """The same store, with the same abilities, measured."""
    if (
        isinstance(store, SelfTesting)
        and isinstance(store, Closeable)
        and isinstance(store, ServerSideCopy)
        and isinstance(store, PresignedDownload)
    ):
        return MeteredCapableStore(store, meter)
    return MeteredStore(store, meter)


class MeteredStore:
    """Is a ``Store``."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self.inner = store
        self.name = store.name
        self.settles_after = store.settles_after
        self._meter = meter

    async def check(self) -> None:
        """Make sure that it can be used now. Raises StoreError with what to do."""
        with Timing(self._meter, "check"):
            await self.inner.check()

    async def put(
        self,
        key: str,
        blocks: AsyncIterable[Block],
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Write a blob, and return its size in bytes. Raises what the port says."""
        with Timing(self._meter, "put") as timing:
            async with aclosing(_awaited(blocks, timing)) as awaited:
                return await self.inner.put(key, awaited, expected_bytes, record)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0) -> AsyncIterator[BlobReader]:
        """Open a whole blob for reading from an offset. Entering raises BlobMissing."""
        async with AsyncExitStack() as opened:
            with Timing(self._meter, "open"):
                reader = await opened.enter_async_context(self.inner.open(key, start))
            yield MeteredReader(reader, self._meter)

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Remove the blob and any unfinished write of it. Missing is fine."""
        with Timing(self._meter, "delete"):
            await self.inner.delete(key, upload_id)

    def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key with bytes, whole or unfinished, that begins so. Not measured."""
        return self.inner.list_keys(prefix)

    async def free_bytes(self) -> int | None:
        """How much room there is, or None where there is no limit."""
        return await self.inner.free_bytes()


class MeteredCapableStore(MeteredStore):
    """The same for a store with every ability."""

    def __init__(self, store: CapableStore, meter: Meter) -> None:
        super().__init__(store, meter)
        self._able = store

    async def self_test(self) -> Sequence[StoreError]:
        """Try everything, in a key of its own; what it lacks. Raises StoreError with what to do."""
        return await self._able.self_test()

    async def close(self) -> None:
        """Let go of connections."""
        await self._able.close()

    def can_copy_from(self, source: Store) -> bool:
        """Whether ``source`` is a place that this store can copy from by itself."""
        return self._able.can_copy_from(_unwrapped(source))

    async def copy_from(
        self, source: Store, source_key: str, key: str, record: RecordUploadId = ignore_upload_id
    ) -> int:
        """Write a blob with the bytes of another one; its size. Raises what the port says."""
        with Timing(self._meter, "put"):
            return await self._able.copy_from(_unwrapped(source), source_key, key, record)

    async def stored_md5(self, key: str) -> str | None:
        """The md5 of a blob as the place itself tells it, if it tells one."""
        return await self._able.stored_md5(key)

    async def presign(self, key: str, valid_for: timedelta, file_name: str | None = None) -> str:
        """A URL for GET and ranges of it. Whoever has it can read the blob: never log it."""
        return await self._able.presign(key, valid_for, file_name)


class MeteredReader:
    """An open blob. Is a ``BlobReader``."""

    def __init__(self, reader: BlobReader, meter: Meter) -> None:
        self._reader = reader
        self._meter = meter

    @property
    def size_bytes(self) -> int:
        """The size of the whole blob."""
        return self._reader.size_bytes

    async def read(self, length: int) -> bytes:
        """Return the next bytes, ``length`` of them unless the blob ends. Raises StoreError."""
        with Timing(self._meter, "read"):
            return await self._reader.read(length)


async def _awaited(blocks: AsyncIterable[Block], timing: Timing) -> AsyncGenerator[Block]:
    """The blocks. How long they let us wait is noted."""
    asked_at = perf_counter()
    async for block in blocks:
        timing.waited_seconds += perf_counter() - asked_at
        yield block
        del block  # nobody may keep it alive while we wait for more
        asked_at = perf_counter()
    timing.waited_seconds += perf_counter() - asked_at


def _unwrapped(store: Store) -> Store:
    return store.inner if isinstance(store, MeteredStore) else store
