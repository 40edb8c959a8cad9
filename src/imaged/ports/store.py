"""The interface of stores, which keep the bytes of images.

Bytes become visible when ``put`` commits, complete and durable, and never earlier. A key is never
reused, so bytes under a key never change. Only the scrubber calls ``delete``.

Every method may raise ``StoreError``; a driver raises no other errors.

Optional abilities are Protocols of their own: test with ``isinstance`` before using one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, runtime_checkable

from imaged.core.block import Blocks
from imaged.core.errors import StoreError, UnknownStore
from imaged.core.summary import StoreSpace

#: Called with the store's own identifier of a write before its first byte, so that other processes
#: can abort it.
RecordUploadId = Callable[[str], Awaitable[None]]


async def ignore_upload_id(upload_id: str) -> None:
    """Discard the identifier."""
    del upload_id


class BlobReader(Protocol):
    """An open blob. A read returns the blob's bytes, even if it is deleted meanwhile, or raises an
    error; it never ends early without one.
    """

    @property
    def size_bytes(self) -> int:
        """The size of the whole blob."""
        ...

    async def read(self, length: int) -> bytes:
        """Return the next ``length`` bytes; fewer at the end of the blob, then always b"".

        Large reads cost less: 1 MiB is a good length.
        """
        ...


@runtime_checkable
class SocketSender(Protocol):
    """A reader that can send bytes to a socket from the kernel's memory. They are not verified."""

    async def send_to(self, socket: int, length: int) -> int:
        """Send at most the next ``length`` bytes, and return how many were sent.

        ``socket``: the descriptor of a stream socket that does not block. It may be closed when the
        call ends, however it ends. 0 if the peer did not read for some milliseconds.

        Raises ConnectionError if the peer is gone, StoreError.
        """
        ...


@runtime_checkable
class CheckingReader(Protocol):
    """A reader that computes checksums where it reads, beside the event loop."""

    async def read_checked(self, lengths: Sequence[int]) -> tuple[Sequence[bytes], int]:
        """Return the next chunks, of these lengths, and the CRC-32C of all of them together.

        Raises StoreError, also if the blob ends before.
        """
        ...


class Store(Protocol):
    """Keeps bytes under keys made by ``core/blob.py``."""

    @property
    def name(self) -> str:
        """The name in the configuration; errors contain it."""
        ...

    @property
    def settles_after(self) -> timedelta:
        """How long after ``delete`` a write in flight may still complete; zero: never."""
        ...

    async def check(self) -> None:
        """Check that it is usable now. Raises StoreError with a remedy."""
        ...

    async def put(
        self,
        key: str,
        blocks: Blocks,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Write a blob, and return its size in bytes.

        On return, the blob is durable and visible. If it raises or is cancelled, nothing is visible
        under the key and nothing will be; ``delete(key)`` removes the rest of the unfinished write.
        An error raised by ``blocks`` propagates unchanged: so a check of the bytes, whose result is
        known at their end, can prevent the commit.

        ``expected_bytes``: the size, if it is known; a store without enough room raises before the
        first byte.

        ``record``: awaited with the store's own identifier of the write (an upload id), if it has
        one, before the first byte is sent. An error that it raises ends the write.

        Raises StoreFull, BlobExists (a complete or unfinished blob with this key exists),
        WriteDiscarded (``delete`` was called meanwhile), StoreError.
        """
        ...

    def open(self, key: str, start: int = 0) -> AbstractAsyncContextManager[BlobReader]:
        """Open a complete blob for reading from an offset. Entering raises BlobMissing.

        An offset at or after the end is allowed: reads return b"".
        """
        ...

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Remove the blob and any unfinished write of it. A missing blob is not an error.

        A write that had begun can never complete afterwards, except within ``settles_after``: then
        another ``delete`` is needed.

        ``upload_id``: the recorded identifier of the write, if any.
        """
        ...

    def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key with this prefix that has bytes, complete or unfinished; unordered, each once.

        Keys added or removed meanwhile may or may not be included. Other files, whose names are not
        keys, are not listed.
        """
        ...

    async def space(self) -> StoreSpace | None:
        """Its size and free space, or None if the store has no such limit."""
        ...


@dataclass(frozen=True, slots=True)
class Stores:
    """The configured stores, by name; new images use the default one."""

    default: str
    by_name: Mapping[str, Store]

    def pick(self, name: str | None = None) -> Store:
        """Return the store of this name, or the default one. Raises UnknownStore."""
        name = self.default if name is None else name
        try:
            return self.by_name[name]
        except KeyError:
            raise UnknownStore(name) from None


@runtime_checkable
class SelfTesting(Protocol):
    """Can try every operation that it will need, which takes longer than ``check``."""

    async def self_test(self) -> Sequence[StoreError]:
        """Try all operations with a temporary key. Raises StoreError with a remedy.

        Returns the defects that do not prevent its use, each with a remedy: StoreFull, if it has no
        room.
        """
        ...


@runtime_checkable
class Closeable(Protocol):
    """Holds connections or threads that should be released at shutdown."""

    async def close(self) -> None:
        """Release them. The store opens them again when it is used again."""
        ...


@runtime_checkable
class BatchDeletion(Protocol):
    """Can delete many blobs for much less than each of them alone."""

    async def delete_batch(self, keys: Sequence[str]) -> Collection[str]:
        """Delete these blobs as ``delete`` does; return the keys of those that are gone.

        Of the others, nothing is known: ``delete`` tells why. Raises StoreError; nothing is known
        of any of them then.
        """
        ...


@runtime_checkable
class ServerSideCopy(Protocol):
    """Can copy a blob without its bytes passing through this process."""

    def can_copy_from(self, source: Store) -> bool:
        """Whether the service of this store can copy from ``source`` directly."""
        ...

    async def copy_from(
        self, source: Store, source_key: str, key: str, record: RecordUploadId = ignore_upload_id
    ) -> int:
        """Write a blob as ``put`` does, with the bytes of another one; return its size.

        Raises BlobMissing if the source has none, and the errors of ``put``.
        """
        ...

    async def stored_md5(self, key: str) -> str | None:
        """The md5 of a complete blob as reported by the service, hexadecimal; None if it reports
        none.

        The value may be another digest, as for encrypted objects of S3: if it differs from the
        expected one, only reading the blob decides. Raises BlobMissing.
        """
        ...


@runtime_checkable
class PresignedDownload(Protocol):
    """Can grant temporary read access to a blob without credentials."""

    async def presign(self, key: str, valid_for: timedelta, file_name: str | None = None) -> str:
        """A URL for GET and ranges of it. It grants access to the blob: never log it.

        Does not check that the blob exists. ``file_name``: the name that a browser saves it under.
        """
        ...
