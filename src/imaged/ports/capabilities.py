"""What some stores can do besides: each ability is a Protocol of its own.

Ask with ``isinstance`` before using one. Every method may raise ``StoreError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from imaged.core.errors import StoreError
from imaged.ports.store import RecordUploadId, Store, ignore_upload_id


@runtime_checkable
class SelfTesting(Protocol):
    """Can try everything that it will need, which takes longer than ``check``."""

    async def self_test(self) -> Sequence[StoreError]:
        """Try it, in a key of its own. Raises StoreError with what to do.

        Returns what it lacks although it can be used, each with a remedy: StoreFull, where it has
        no room.
        """
        ...


@runtime_checkable
class Closeable(Protocol):
    """Holds connections or threads, which should be let go at the end."""

    async def close(self) -> None:
        """Let go of them. Used again, the store opens them again."""
        ...


@runtime_checkable
class ServerSideCopy(Protocol):
    """Can copy a blob without its bytes passing through this process."""

    def can_copy_from(self, source: Store) -> bool:
        """Whether ``source`` is a place that this store can copy from by itself."""
        ...

    async def copy_from(
        self, source: Store, source_key: str, key: str, record: RecordUploadId = ignore_upload_id
    ) -> int:
        """Write a blob as ``put`` does, with the bytes of another one; its size.

        Raises BlobMissing where the source has none, and what ``put`` raises.
        """
        ...

    async def stored_md5(self, key: str) -> str | None:
        """The md5 of a whole blob as the place itself tells it, hexadecimal; None where it tells
        none. What it tells may be another digest, as for encrypted objects of S3: where it is not
        the one that is expected, only reading the blob decides. Raises BlobMissing.
        """
        ...


@runtime_checkable
class PresignedDownload(Protocol):
    """Can let somebody read a blob directly, for a while, who has no rights of his own."""

    async def presign(self, key: str, valid_for: timedelta, file_name: str | None = None) -> str:
        """A URL for GET and ranges of it. Whoever has it can read the blob: never log it.

        Whether there is a blob is not looked at. ``file_name``: what a browser should save it as.
        """
        ...
