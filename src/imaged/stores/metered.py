"""A store that reports to a meter how long the operations of another store take.

Blocks and read bytes pass through unchanged, one at a time, and are not kept. The time that ``put``
waits for its blocks does not count as the store's time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from time import perf_counter
from typing import Protocol

from imaged.core.block import Blocks, TimedBlocks
from imaged.core.errors import StoreError
from imaged.core.summary import StoreSpace
from imaged.ports.meter import Meter, Timing
from imaged.ports.store import (
    BatchDeletion,
    BlobReader,
    CheckingReader,
    Closeable,
    PresignedDownload,
    RecordUploadId,
    SelfTesting,
    ServerSideCopy,
    SocketSender,
    Store,
    ignore_upload_id,
)


class CapableStore(Store, SelfTesting, Closeable, ServerSideCopy, PresignedDownload, Protocol):
    """A store with every optional ability of ``ports/store.py``."""


def meter_store(store: Store, meter: Meter) -> Store:
    """The same store with the same abilities, measured."""
    if (
        isinstance(store, SelfTesting)
        and isinstance(store, Closeable)
        and isinstance(store, ServerSideCopy)
        and isinstance(store, PresignedDownload)
    ):
        return MeteredCapableStore(store, meter)
    if isinstance(store, BatchDeletion):
        return MeteredFolderStore(store, store, meter)
    return MeteredStore(store, meter)


class MeteredStore:
    """Measures a store. Is a ``Store``."""

    def __init__(self, store: Store, meter: Meter) -> None:
        self.inner = store
        self.name = store.name
        self.settles_after = store.settles_after
        self._meter = meter

    async def check(self) -> None:
        """Ensure that the store can be used now. Raises StoreError with the remedy."""
        with Timing(self._meter, "check"):
            await self.inner.check()

    async def put(
        self,
        key: str,
        blocks: Blocks,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Write a blob; returns its size in bytes. Raises what the port says."""
        with Timing(self._meter, "put") as timing:
            timed = TimedBlocks(blocks, perf_counter)
            try:
                return await self.inner.put(key, timed, expected_bytes, record)
            finally:
                timing.waited_seconds = timed.waited_seconds

    @asynccontextmanager
    async def open(self, key: str, start: int = 0) -> AsyncIterator[BlobReader]:
        """Open a complete blob for reading from an offset. Entering raises BlobMissing."""
        async with AsyncExitStack() as opened:
            with Timing(self._meter, "open"):
                reader = await opened.enter_async_context(self.inner.open(key, start))
            if isinstance(reader, SocketSender) and isinstance(reader, CheckingReader):
                yield MeteredFileReader(reader, reader, reader, self._meter)
            else:
                yield MeteredReader(reader, self._meter)

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Remove the blob and any unfinished write of it. A missing blob is no error."""
        with Timing(self._meter, "delete"):
            await self.inner.delete(key, upload_id)

    def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key with this prefix that has bytes, complete or unfinished. Not measured."""
        return self.inner.list_keys(prefix)

    async def space(self) -> StoreSpace | None:
        """Its size and free space, or None where there is no limit. Not measured."""
        return await self.inner.space()


class MeteredCapableStore(MeteredStore):
    """Measures a store that has every ability."""

    def __init__(self, store: CapableStore, meter: Meter) -> None:
        super().__init__(store, meter)
        self._able = store

    async def self_test(self) -> Sequence[StoreError]:
        """Test every operation on a key of its own; returns what is lacking. Raises StoreError."""
        return await self._able.self_test()

    async def close(self) -> None:
        """Close connections."""
        await self._able.close()

    def can_copy_from(self, source: Store) -> bool:
        """Whether the store can copy from ``source`` on the server's side."""
        return self._able.can_copy_from(_unwrapped(source))

    async def copy_from(
        self, source: Store, source_key: str, key: str, record: RecordUploadId = ignore_upload_id
    ) -> int:
        """Copy a blob from another store; returns its size in bytes. Raises what the port says."""
        with Timing(self._meter, "put"):
            return await self._able.copy_from(_unwrapped(source), source_key, key, record)

    async def stored_md5(self, key: str) -> str | None:
        """The MD5 of a blob as the store itself reports it, if it does."""
        return await self._able.stored_md5(key)

    async def presign(self, key: str, valid_for: timedelta, file_name: str | None = None) -> str:
        """A URL for GET and ranges of it. It grants the right to read the blob: never log it."""
        return await self._able.presign(key, valid_for, file_name)


class MeteredFolderStore(MeteredStore):
    """Measures a store that deletes in batches. A batch counts as one deletion."""

    def __init__(self, store: Store, deletion: BatchDeletion, meter: Meter) -> None:
        super().__init__(store, meter)
        self._deletion = deletion

    async def delete_batch(self, keys: Sequence[str]) -> Collection[str]:
        """Remove these blobs; returns the keys of those that are gone. Raises StoreError."""
        with Timing(self._meter, "delete"):
            return await self._deletion.delete_batch(keys)


class MeteredReader:
    """An open blob. Is a ``BlobReader``."""

    def __init__(self, reader: BlobReader, meter: Meter) -> None:
        self._reader = reader
        self._meter = meter

    @property
    def size_bytes(self) -> int:
        """The size of the complete blob in bytes."""
        return self._reader.size_bytes

    async def read(self, length: int) -> bytes:
        """Return the next ``length`` bytes, fewer at the end of the blob. Raises StoreError."""
        with Timing(self._meter, "read"):
            return await self._reader.read(length)


class MeteredFileReader(MeteredReader):
    """An open blob with the abilities of a file. Time that the peer of a socket takes counts."""

    def __init__(
        self, reader: BlobReader, sender: SocketSender, checking: CheckingReader, meter: Meter
    ) -> None:
        super().__init__(reader, meter)
        self._sender = sender
        self._checking = checking

    async def send_to(self, socket: int, length: int) -> int:
        """Send the next bytes to a socket. Raises ConnectionError, StoreError."""
        with Timing(self._meter, "read"):
            return await self._sender.send_to(socket, length)

    async def read_checked(self, lengths: Sequence[int]) -> tuple[Sequence[bytes], int]:
        """Return the next chunks and their CRC-32C. Raises StoreError."""
        with Timing(self._meter, "read"):
            return await self._checking.read_checked(lengths)


def _unwrapped(store: Store) -> Store:
    return store.inner if isinstance(store, MeteredStore) else store
