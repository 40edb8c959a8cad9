"""What the services ask of a place that keeps bytes.

Bytes become visible when ``put`` commits, whole and durable, and never earlier. A key is never
used again, so bytes under a key never change. Only the scrubber calls ``delete``.

Every method may raise ``StoreError``; other errors never leave a driver.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from imaged.core.block import Block
from imaged.core.errors import UnknownStore

#: Told the store's own name for a write before its first byte, so that it can be ended by others.
RecordUploadId = Callable[[str], Awaitable[None]]


async def ignore_upload_id(upload_id: str) -> None:
    """Do nothing with it."""
    del upload_id


class BlobReader(Protocol):
    """An open blob. What it reads are the blob's bytes also if it is deleted meanwhile, or an
    error; it never silently ends early.
    """

    @property
    def size_bytes(self) -> int:
        """The size of the whole blob."""
        ...

    async def read(self, length: int) -> bytes:
        """Return the next bytes, ``length`` of them unless the blob ends: then fewer, and b"" for
        ever after. Large reads are cheaper: 1 MiB is a good length.
        """
        ...


class Store(Protocol):
    """A place that keeps bytes, under keys that ``core/keys.py`` makes."""

    @property
    def name(self) -> str:
        """The name that the configuration gives it; errors carry it."""
        ...

    @property
    def settles_after(self) -> timedelta:
        """How long after ``delete`` a write that was under way may still land; zero: never."""
        ...

    async def check(self) -> None:
        """Make sure that it can be used now. Raises StoreError with what to do."""
        ...

    async def put(
        self,
        key: str,
        blocks: AsyncIterable[Block],
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Write a blob, and return its size in bytes.

        When it returns, the blob is durable and visible. When it raises, or is cancelled, nothing
        is visible under the key and nothing will be; what is left of the unfinished write goes
        with ``delete(key)``. An error raised by ``blocks`` passes through unchanged: that is how a
        verdict on the bytes, which comes with their end, prevents the commit.

        ``expected_bytes``: how many will come, where that is known; a store that has no room for
        them says so before the first.

        ``record``: awaited with the store's own name for the write (an upload id), where it has
        one, before the first byte is sent. What it raises ends the write.

        Raises StoreFull, BlobExists (a whole or unfinished blob of this key is there),
        WriteDiscarded (``delete`` came in between), StoreError.
        """
        ...

    def open(self, key: str, start: int = 0) -> AbstractAsyncContextManager[BlobReader]:
        """Open a whole blob for reading from an offset. Entering raises BlobMissing.

        An offset at or behind the end is allowed: nothing is left to be read.
        """
        ...

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Remove the blob and any unfinished write of it. Missing is fine.

        A write that had begun can never be completed afterwards, except within ``settles_after``:
        then another ``delete`` is needed.

        ``upload_id``: what was recorded for the write, if anything was.
        """
        ...

    def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key with bytes, whole or unfinished, that begins so; in no order, each once.

        Keys that come or go meanwhile may or may not be among them. Files of others, whose names
        are no keys, are not listed.
        """
        ...

    async def free_bytes(self) -> int | None:
        """How much room there is, or None where that has no meaning."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores that are configured, by name; new images go to the default one."""

    default: str
    by_name: Mapping[str, Store]

    def pick(self, name: str | None = None) -> Store:
        """Return the store of this name, or the default one. Raises UnknownStore."""
        name = self.default if name is None else name
        try:
            return self.by_name[name]
        except KeyError:
            raise UnknownStore(name) from None
