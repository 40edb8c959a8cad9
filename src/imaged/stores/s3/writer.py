"""One attempt to write one blob, from its first byte until it is visible.

Strategy. A blob whose announced size fits into one part is put at once. Every other blob is a
multipart upload from the beginning, however few bytes arrive: so a delete that aborts the upload
ends the write, and lists show it. It becomes visible when the upload is completed.

If publishing a blob fails or gets no answer, the writer checks whether the blob exists: each
attempt leaves an id of its own in the object's metadata. A call that begins or publishes is never
interrupted: a cancelled writer lets it finish and rolls its effect back. A write that fails aborts
its upload, and removes the blob if it was published and carries its id. All of that is best effort:
if the process dies here, the ledger still has a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import structlog

from imaged.core.block import Block
from imaged.core.errors import BlobMissing, StoreError, WriteDiscarded
from imaged.ports.store import RecordUploadId, ignore_upload_id
from imaged.stores.s3.abort import UploadAborter
from imaged.stores.s3.client import S3Client, S3Response
from imaged.stores.s3.copy import PARALLEL_COPIES, S3CopySource
from imaged.stores.s3.errors import ConditionalWritesUnsupported
from imaged.stores.s3.part_memory import PartMemoryShare
from imaged.stores.s3.part_planner import PartPlanner
from imaged.stores.s3.part_uploads import CompletedPart, PartUploads
from imaged.stores.s3.parts import Part, checksum_algorithm
from imaged.stores.s3.settings import Checksum
from imaged.stores.s3.streamed_part import StreamedPart

log = structlog.get_logger()

WRITE_ID_METADATA = "imaged-write"  # metadata with the id of the attempt that wrote an object
NO_METADATA: Mapping[str, str] = MappingProxyType({})


class S3Writer:
    """An attempt. Ends with ``publish`` or with ``discard``.

    ``metadata``: further metadata of the object, in ASCII.
    """

    def __init__(
        self,
        client: S3Client,
        key: str,
        share: PartMemoryShare,
        *,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> None:
        self._client = client
        self._key = key
        self._share = share
        self._record = record
        self._planner = PartPlanner(share, expected_bytes or 0)
        self._checksum = client.settings.checksum
        if self._planner.may_stream and self._checksum == "crc32":
            self._checksum = "md5"  # S3 wants CRC32 with all parts of an upload, or with none
        is_small = expected_bytes is not None and expected_bytes <= share.part_bytes
        self._small_bytes = expected_bytes if is_small else None
        self._mark = uuid4().hex
        self._metadata = {WRITE_ID_METADATA: self._mark, **metadata}
        self._size_bytes = 0
        self._upload_id: str | None = None
        self._part_uploads = PartUploads(client.store)
        self._beginning: asyncio.Task[str] | None = None
        self._publishing: asyncio.Task[None] | None = None

    async def upload_blocks(self, blocks: AsyncIterable[Block]) -> Part | StreamedPart:
        """Send all parts but the last; returns the last one. Raises StoreError, and what ``blocks``
        raises.
        """
        if self._small_bytes is None:
            await self._begin(self._checksum)
        part = await self._new_part(self._small_bytes)
        async for block in blocks:
            start = 0
            while start < block.size_bytes:
                if part.is_full:
                    await self._send(part)
                    del part
                    part = await self._new_part()
                end = part.take(block, start)
                self._size_bytes += end - start
                start = end
                if isinstance(part, StreamedPart):
                    await part.drain()
            self._part_uploads.raise_failure()
            del block  # no reference may keep it alive while the next one is awaited
        return part

    async def publish(self, last: Part | StreamedPart) -> int:
        """Send the last part and make the blob visible; returns its size in bytes. Raises
        StoreError.
        """
        if self._upload_id is None and isinstance(last, Part):
            commit = self._put(last)
        else:
            await self._send(last)
            await self._part_uploads.settle()
            commit = self._complete()
        del last
        return await self._commit(commit)

    async def copy(self, source: S3CopySource, *, once: bool = False) -> int:
        """Have the blob copied and made visible; returns its size in bytes. Raises StoreError.

        ``once``: fail if the object exists. Few stores support that condition for a plain copy,
        more for the completion of an upload; so the copy is an upload then, however small it is.
        """
        self._size_bytes = source.size_bytes
        if source.is_small and not once:
            return await self._commit(source.copy(self._client, self._key, self._metadata))
        upload_id = await self._begin(checksum="none")
        for piece in source.pieces():
            await self._part_uploads.settle(PARALLEL_COPIES - 1)
            copy = partial(source.copy_piece, self._client, self._key, upload_id, piece)
            self._part_uploads.launch(copy, len(piece))
        await self._part_uploads.settle()
        return await self._commit(self._complete())

    async def discard(self) -> None:
        """Ensure that nothing of it is or becomes visible. Never raises StoreError."""
        await self._part_uploads.cancel()
        waited_for = filter(None, [self._beginning, self._publishing])
        await asyncio.gather(*waited_for, return_exceptions=True)
        try:
            await self._roll_back()
        except StoreError as error:
            log.warning(
                "write.left_behind", store=self._client.store, key=self._key, error=str(error)
            )

    async def _begin(self, checksum: Checksum) -> str:
        self._beginning = asyncio.create_task(self._create(checksum))
        upload_id = await asyncio.shield(self._beginning)
        await self._record(upload_id)
        return upload_id

    async def _create(self, checksum: Checksum) -> str:
        answer = await self._client.call(
            "create_multipart_upload",
            self._key,
            Metadata=self._metadata,
            **checksum_algorithm(checksum),
        )
        upload_id: str = answer["UploadId"]
        self._upload_id = upload_id
        if answer["ResponseMetadata"]["RetryAttempts"]:  # one whose id was not received may exist
            with suppress(StoreError):
                await UploadAborter(self._client).abort_all(self._key, but=upload_id)
        return upload_id

    async def _new_part(self, small_bytes: int | None = None) -> Part | StreamedPart:
        if small_bytes is not None:
            return await self._planner.make_small(small_bytes)
        part = await self._planner.make(self._size_bytes)
        self._part_uploads.raise_failure()
        if isinstance(part, StreamedPart):
            self._part_uploads.launch(partial(self._stream, part), part.limit_bytes)
        return part

    async def _send(self, part: Part | StreamedPart) -> None:
        if isinstance(part, Part):
            upload_id = self._upload_id or await self._begin(self._checksum)
            self._part_uploads.launch(
                partial(self._upload, part, upload_id),
                part.size_bytes,
                at_end=partial(self._share.release, part.limit_bytes),
            )
        elif not part.is_full:  # all others were sent when they were made
            why = f"got fewer bytes of {self._key} than were announced, so a part is incomplete"
            raise StoreError(self._client.store, why)

    async def _upload(self, part: Part, upload_id: str, number: int) -> CompletedPart:
        checksum = await part.checksum(self._checksum)
        answer = await self._client.call(
            "upload_part",
            self._key,
            body=part,
            before_repeat=self._require_upload,
            UploadId=upload_id,
            PartNumber=number,
            **checksum,
        )
        checksum.pop("ContentMD5", None)
        return {"PartNumber": number, "ETag": answer["ETag"], **checksum}

    async def _stream(self, part: StreamedPart, number: int) -> CompletedPart:
        try:
            answer = await self._client.call(
                "upload_part",
                self._key,
                body=part,
                attempts=1,
                UploadId=self._upload_id,
                PartNumber=number,
            )
        finally:
            part.close()
        if answer.has_md5_for_etag and answer["ETag"].strip('"') != part.md5:
            why = f"has other bytes of a part of {self._key}: they were damaged in transit"
            raise StoreError(self._client.store, why)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    async def _put(self, part: Part) -> bool:
        checksum = await part.checksum(self._checksum)
        md5 = await part.md5()
        answer = await self._call_conditionally(
            "put_object", body=part, Metadata=self._metadata, **checksum
        )
        return bool(answer.get("ETag", "").strip('"') == md5)

    async def _complete(self) -> bool:
        answer = await self._call_conditionally(
            "complete_multipart_upload",
            before_repeat=self._require_upload,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._part_uploads.stored()},
        )
        return "ETag" in answer

    async def _require_upload(self) -> None:
        """Check that the upload still exists. Raises WriteDiscarded.

        Some servers answer 500 to parts (moto 5.2) or to the completion (Ceph RGW 16.2) of an
        aborted upload, and a retry would not change that.
        """
        try:
            await self._client.call(
                "list_parts", self._key, attempts=1, UploadId=self._upload_id, MaxParts=1
            )
        except WriteDiscarded:
            raise
        except StoreError:  # the next attempt reports it
            return

    async def _call_conditionally(self, operation: str, **parameters: Any) -> S3Response:
        """Fail if such an object exists, where the store supports conditions."""
        if self._client.supports_conditional_writes:
            try:
                return await self._client.call(operation, self._key, IfNoneMatch="*", **parameters)
            except ConditionalWritesUnsupported:
                self._client.supports_conditional_writes = False
        return await self._client.call(operation, self._key, **parameters)

    async def _commit(self, commit: Coroutine[Any, Any, bool]) -> int:
        self._publishing = asyncio.create_task(self._verify_published(commit))
        await asyncio.shield(self._publishing)
        return self._size_bytes

    async def _verify_published(self, commit: Coroutine[Any, Any, bool]) -> None:
        """Check that the blob exists, unless the answer proves it.

        The call may have succeeded despite an error or a missing answer. And a 200 without a result
        may come from a proxy or a portal that stores nothing.
        """
        try:
            is_proven = await commit
        except StoreError:
            with suppress(StoreError):
                if await self._published_bytes() == self._size_bytes:
                    return
            raise
        if not is_proven and await self._published_bytes() != self._size_bytes:
            why = (
                f"answered that it keeps {self._key}, and does not have it: "
                "check whether a proxy answers in its place"
            )
            raise StoreError(self._client.store, why)

    async def _published_bytes(self) -> int | None:
        """The size in bytes of the blob, if it exists and this attempt wrote it."""
        try:
            found = await self._client.call("head_object", self._key)
        except BlobMissing:
            return None
        is_ours = found.metadata.get(WRITE_ID_METADATA) == self._mark
        return int(found["ContentLength"]) if is_ours else None

    async def _roll_back(self) -> None:
        aborter = UploadAborter(self._client)
        if self._upload_id is not None:
            await aborter.abort(self._key, self._upload_id)
        elif self._beginning is not None:
            await aborter.abort_all(self._key)
        if self._publishing is not None and await self._published_bytes() is not None:
            await aborter.remove(self._key)
