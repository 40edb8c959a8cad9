"""A store in memory: the readable specification of ``ports/store.py``.

A write has three kinds of steps, as in every store: ``begin``, ``append`` and ``commit``. They are
public so that a simulation can put kills and delays between them; tests may change ``blobs`` and
``partial`` directly. It runs wherever anyio does, and in no thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from anyio.lowlevel import checkpoint

from imaged.core.block import Block, Blocks
from imaged.core.errors import BlobExists, BlobMissing, StoreFull, WriteDiscarded
from imaged.core.place_marker import ExpectedMarker, Marker, PlaceKind
from imaged.core.summary import StoreSpace
from imaged.ports.store import RecordUploadId, ignore_upload_id
from imaged.stores.layout import require_key


class MemoryStore:
    """Keeps bytes as long as the process lives. Is a ``Store``."""

    def __init__(self, name: str = "memory", capacity_bytes: int | None = None) -> None:
        self.name = name
        self.settles_after = timedelta(0)
        self.capacity_bytes = capacity_bytes
        self.blobs: dict[str, bytes] = {}
        self.partial: dict[str, bytes] = {}
        self.place = MemoryMarker(name)

    async def check(self) -> None:
        """Always succeeds, unless the marker is not the expected one."""
        await self.place.require_expected()

    async def put(
        self,
        key: str,
        blocks: Blocks,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Write a blob; returns its size in bytes. Writes of this store have no upload id."""
        del record
        require_key(self.name, key)
        self.place.require()
        self._require_room(expected_bytes or 0)
        await self.begin(key)
        async for block in blocks:
            await self.append(key, block)
        return await self.commit(key)

    async def begin(self, key: str) -> None:
        """Reserve the key. Raises BlobExists."""
        await checkpoint()
        if key in self.blobs or key in self.partial:
            raise BlobExists(self.name, key)
        self.partial[key] = b""

    async def append(self, key: str, block: Block) -> None:
        """Append bytes. Raises StoreFull, WriteDiscarded."""
        await checkpoint()
        written = self._unfinished(key)
        self._require_room(block.size_bytes)
        self.partial[key] = b"".join([written, *block.chunks])

    async def commit(self, key: str) -> int:
        """Make the complete blob visible; returns its size in bytes. Raises WriteDiscarded."""
        await checkpoint()
        self.blobs[key] = self._unfinished(key)
        del self.partial[key]
        return len(self.blobs[key])

    @asynccontextmanager
    async def open(self, key: str, start: int = 0) -> AsyncIterator[MemoryReader]:
        """Open a complete blob for reading from an offset. Entering raises BlobMissing."""
        require_key(self.name, key)
        await checkpoint()
        if key not in self.blobs:
            self.place.require()
            raise BlobMissing(self.name, key)
        yield MemoryReader(self.blobs[key], start)

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Remove the blob and any unfinished write of it. A missing blob is no error."""
        del upload_id
        require_key(self.name, key)
        await self.place.require_expected()
        self.partial.pop(key, None)
        self.blobs.pop(key, None)

    async def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key with this prefix that has bytes, complete or unfinished."""
        self.place.require()
        for key in {*self.blobs, *self.partial}:
            await checkpoint()
            if key.startswith(prefix):
                yield key

    async def space(self) -> StoreSpace | None:
        """Its size and free space, or None where there is no limit."""
        await checkpoint()
        if (size := self.capacity_bytes) is None:
            return None
        return StoreSpace(size, size - self._used_bytes(), min_free_bytes=0)

    def _unfinished(self, key: str) -> bytes:
        if key not in self.partial:
            raise WriteDiscarded(self.name, key)
        return self.partial[key]

    def _require_room(self, more_bytes: int) -> None:
        limit = self.capacity_bytes
        if limit is not None and self._used_bytes() + more_bytes > limit:
            raise StoreFull(self.name, f"has room for {limit} bytes and not for {more_bytes} more")

    def _used_bytes(self) -> int:
        return sum(map(len, [*self.blobs.values(), *self.partial.values()]))


class MemoryMarker(ExpectedMarker):
    """The marker of a MemoryStore. Is a ``MarkedPlace``; tests may change ``marker`` directly."""

    def __init__(self, name: str) -> None:
        super().__init__(PlaceKind.STORE, name, "memory", name)
        self.marker: Marker | None = None

    async def read_marker(self) -> Marker | None:
        """The present marker."""
        await checkpoint()
        return self.marker

    async def write_marker(self, marker: Marker, *, replace: bool = False) -> Marker:
        """Write the marker; returns the marker that is then present."""
        await checkpoint()
        if replace or self.marker is None:
            self.marker = marker
        return self.marker

    async def require_expected(self) -> None:
        """Raises WrongPlace if the marker is missing or another one."""
        await checkpoint()
        self.require()

    def require(self) -> None:
        """The same, synchronously."""
        if self._expected is not None:
            self.require_same(self.marker)


class MemoryReader:
    """An open blob of a MemoryStore. Is a ``BlobReader``."""

    def __init__(self, data: bytes, start: int) -> None:
        self.size_bytes = len(data)
        self._data = data
        self._offset = start

    async def read(self, length: int) -> bytes:
        """Return the next ``length`` bytes, fewer at the end of the blob."""
        await checkpoint()
        data = self._data[self._offset : self._offset + length]
        self._offset += len(data)
        return data
