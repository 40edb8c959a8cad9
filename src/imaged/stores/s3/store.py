"""A store in a bucket of S3, or of a compatible service.

It creates one object per blob, ``<prefix>/<key>`` (``stores/layout.py``), with an attempt id in its
metadata, and multipart uploads on the way there. A blob appears when its upload is completed, or
when it is put at once because its announced size fits into one part (``s3/writer.py``). A crash
leaves an unfinished upload. ``delete`` of its key aborts it, by the id in the ledger or found by
the key, and repeats that until no part of it is listed (``s3/contents.py``). Parts, and objects
that are put at once, may arrive after a delete if they were in flight: the ledger checks again an
hour later. A lifecycle rule of the bucket that aborts old uploads is a second safeguard
(docs/how-to/use-s3.md).

Rights it needs: s3:ListBucket and s3:ListBucketMultipartUploads for the bucket; s3:PutObject,
s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts for its
objects. ``self_test`` tries them all.

Importing this module loads the library for S3: import it only if such a store is configured.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import quote

from imaged.core.blob import is_key
from imaged.core.block import Blocks
from imaged.core.errors import BlobExists, BlobMissing, StoreError, StoreFull
from imaged.core.place_marker import PlaceKind
from imaged.core.summary import StoreSpace
from imaged.ports.store import RecordUploadId, Store, ignore_upload_id
from imaged.stores.layout import require_key
from imaged.stores.s3.client import S3Client, S3Response
from imaged.stores.s3.contents import (
    S3CopySource,
    UploadAborter,
    find_object,
    list_objects,
    list_uploads,
)
from imaged.stores.s3.marker import BucketMarker
from imaged.stores.s3.reader import S3Reader
from imaged.stores.s3.self_test import S3SelfTest
from imaged.stores.s3.settings import MAX_BLOB_BYTES, S3Settings
from imaged.stores.s3.writer import S3WriteManager

MAX_VALIDITY = timedelta(days=7)  # the maximum for version 4 signatures
SETTLES_AFTER = timedelta(hours=1)  # longer than anything that is in flight

_MD5 = re.compile(r"[0-9a-f]{32}")


class S3Store:
    """Keeps blobs as objects. A ``Store`` with every optional ability of ``ports/store.py``."""

    def __init__(self, name: str, settings: S3Settings) -> None:
        self.name = name
        self.settings = settings
        self.settles_after = SETTLES_AFTER
        self._client = S3Client(name, settings)
        self._attempts = S3WriteManager(self._client)
        self.place = BucketMarker(PlaceKind.STORE, name, self._client)

    async def check(self) -> None:
        """Ask for the bucket once, and now and then for its marker. Raises StoreError."""
        await S3SelfTest(self._client).check_bucket()
        await self.place.require_expected()

    async def self_test(self) -> Sequence[StoreError]:
        """Test every operation on a key of its own; returns what is lacking.

        Raises StoreError.
        """
        return await S3SelfTest(self._client).self_test()

    async def close(self) -> None:
        """Close all connections, after giving pending rollbacks their time."""
        await self._attempts.settle()
        await self._client.close()

    async def put(
        self,
        key: str,
        blocks: Blocks,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Write a blob; returns its size in bytes."""
        require_key(self.name, key)
        if (expected_bytes or 0) > MAX_BLOB_BYTES:
            raise StoreFull(self.name, "keeps no blob of more than 5 TiB")
        await self.place.require_expected()
        await self._require_unused(key)
        async with self._attempts.begin(key, expected_bytes, record) as write:
            return await write.write(blocks)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0) -> AsyncIterator[S3Reader]:
        """Open a complete blob for reading from an offset. Entering raises BlobMissing."""
        found = await self.head_blob(key)
        async with S3Reader(self._client, key, found, start) as reader:
            yield reader

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Remove the blob and any unfinished write of it. A missing blob is no error."""
        require_key(self.name, key)
        await self.place.require_expected()
        aborter = UploadAborter(self._client)
        if upload_id is not None:
            await aborter.abort(key, upload_id)
        await aborter.abort_all(key)
        await aborter.remove(key)

    async def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key with this prefix that has bytes, complete or unfinished.

        Unfinished writes come first, so a write that completes meanwhile is listed at least once.
        """
        await self.place.require_expected()
        unfinished = set()
        async for upload in list_uploads(self._client, prefix):
            if is_key(upload.name) and upload.name not in unfinished:
                unfinished.add(upload.name)
                yield upload.name
        async for name in list_objects(self._client, prefix):
            if is_key(name) and name not in unfinished:
                yield name

    async def space(self) -> StoreSpace | None:
        """None: a bucket has no known limit."""
        return None

    def can_copy_from(self, source: Store) -> bool:
        """True for stores at the same endpoint, whatever their bucket."""
        return isinstance(source, S3Store) and self.settings.where == source.settings.where

    async def copy_from(
        self, source: Store, source_key: str, key: str, record: RecordUploadId = ignore_upload_id
    ) -> int:
        """Let S3 copy a blob from another store, or from this one; returns its size in bytes."""
        require_key(self.name, key)
        if not (isinstance(source, S3Store) and self.can_copy_from(source)):
            raise StoreError(self.name, f"cannot copy by itself from the store {source.name!r}")
        await self.place.require_expected()
        await self._require_unused(key)
        found = await source.head_blob(source_key)
        async with self._attempts.begin(key, None, record) as write:
            return await write.copy(S3CopySource(source.settings, source_key, found))

    async def stored_md5(self, key: str) -> str | None:
        """The ETag, unless it is a digest of parts (S3 API reference, "ETag" of HeadObject)."""
        etag: str = (await self.head_blob(key)).get("ETag", "").strip('"').lower()
        return etag if _MD5.fullmatch(etag) else None

    async def presign(self, key: str, valid_for: timedelta, file_name: str | None = None) -> str:
        """A URL that grants the right to read the blob for a while: never log it.

        Browsers are told to save the blob as a file, and not to render it.
        """
        require_key(self.name, key)
        if not timedelta(0) < valid_for <= MAX_VALIDITY:
            raise StoreError(self.name, "signs URLs for more than 0 and at most 7 days")
        return await self._client.presign(
            key,
            valid_for,
            ResponseContentType="application/octet-stream",
            ResponseContentDisposition=_attachment(file_name),
        )

    async def head_blob(self, key: str) -> S3Response:
        """The answer to HEAD for a complete blob. Raises BlobMissing."""
        require_key(self.name, key)
        found = await find_object(self._client, key)
        if found is None:
            await self.place.require_expected()
            raise BlobMissing(self.name, key)
        return found

    async def _require_unused(self, key: str) -> None:
        try:
            await self._client.call("head_object", key)
        except BlobMissing:
            if not await UploadAborter(self._client).list_upload_ids(key):
                return
        raise BlobExists(self.name, key)


def _attachment(file_name: str | None) -> str:
    """The header of RFC 6266, with the name in percent-encoded UTF-8."""
    if file_name is None:
        return "attachment"
    return f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"
