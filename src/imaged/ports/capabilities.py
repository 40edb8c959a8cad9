"""Optional abilities of stores, each a Protocol of its own.

Test with ``isinstance`` before using one. Every method may raise ``StoreError``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from imaged.core.errors import StoreError
from imaged.ports.store import RecordUploadId, Store, ignore_upload_id


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
