"""Attempts to write blobs, each from its first byte until the blob is visible.

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
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import structlog

from imaged.core.blob import image_id_of_key
from imaged.core.block import Blocks
from imaged.core.errors import BlobMissing, StoreError
from imaged.lanes import wait_shielded
from imaged.ports.store import RecordUploadId, ignore_upload_id
from imaged.stores.s3.client import S3Client, S3Response
from imaged.stores.s3.contents import S3CopySource, UploadAborter
from imaged.stores.s3.errors import ConditionalWritesUnsupported
from imaged.stores.s3.multipart_upload import MultipartUpload
from imaged.stores.s3.part_memory import PartMemory, PartMemoryShare
from imaged.stores.s3.parts import Part, StreamedPart

log = structlog.get_logger()

PARALLEL_COPIES = 4
WRITE_ID_METADATA = "imaged-write"  # metadata with the id of the attempt that wrote an object
NO_METADATA: Mapping[str, str] = MappingProxyType({})


class S3WriteManager:
    """Makes attempts that share the memory for parts; rolls each back unless it succeeds."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._memory = PartMemory(client.settings)
        self._rollback_timeout = client.settings.tuning.rollback_timeout
        self._clean_ups: set[asyncio.Task[None]] = set()
        self._pending_rollbacks: Counter[str] = Counter()

    def may_roll_back(self, key: str) -> bool:
        """Whether an attempt of this process may still remove an existing object."""
        return self._pending_rollbacks[key] > 0

    @asynccontextmanager
    async def begin(
        self,
        key: str,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> AsyncIterator[S3Writer]:
        """An attempt to write; it is rolled back unless the block succeeds.

        ``metadata``: further metadata of the object, in ASCII.
        """
        with self._memory.share() as share:
            write = S3Writer(
                self._client,
                key,
                share,
                expected_bytes=expected_bytes,
                record=record,
                metadata=metadata,
            )
            self._pending_rollbacks[key] += 1
            is_published = False
            try:
                yield write
                is_published = True  # nothing was awaited since that became true
            finally:
                if is_published:
                    self._rollback_decided(key)
                else:
                    await self.finish(self._discard(key, write))

    async def finish(self, clean_up: Coroutine[Any, Any, None]) -> None:
        """Run the work shielded from cancellation; wait at most ``rollback_timeout``."""
        task = asyncio.create_task(clean_up)
        self._clean_ups.add(task)
        task.add_done_callback(self._clean_ups.discard)
        await wait_shielded(task, self._rollback_timeout)

    async def settle(self) -> None:
        """Wait for pending rollbacks, at most ``rollback_timeout``."""
        if self._clean_ups:
            await asyncio.wait(self._clean_ups, timeout=self._rollback_timeout.total_seconds())

    async def _discard(self, key: str, write: S3Writer) -> None:
        await write.discard()
        self._rollback_decided(key)

    def _rollback_decided(self, key: str) -> None:
        self._pending_rollbacks[key] -= 1
        if not self._pending_rollbacks[key]:
            del self._pending_rollbacks[key]


class S3Writer:
    """An attempt. Ends with ``write`` or ``copy``, or with ``discard``."""

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
        self._write_id = uuid4().hex
        self._metadata = {WRITE_ID_METADATA: self._write_id, **metadata}
        self._upload = MultipartUpload(
            client,
            key,
            share,
            expected_bytes=expected_bytes,
            record=record,
            metadata=self._metadata,
        )
        self._publishing: asyncio.Task[None] | None = None

    async def write(self, blocks: Blocks) -> int:
        """Send all blocks and make the blob visible; returns its size in bytes. Raises StoreError,
        and what ``blocks`` raises.
        """
        return await self._publish(await self._upload.send_blocks(blocks))

    async def copy(self, source: S3CopySource, *, once: bool = False) -> int:
        """Have the blob copied and made visible; returns its size in bytes. Raises StoreError.

        ``once``: fail if the object exists. Few stores support that condition for a plain copy,
        more for the completion of an upload; so the copy is an upload then, however small it is.
        """
        if source.is_small and not once:
            copied = source.copy(self._client, self._key, self._metadata)
            return await self._commit(copied, source.size_bytes)
        upload_id = await self._upload.begin(checksum="none")
        for piece in source.pieces():
            await self._upload.in_flight.settle(PARALLEL_COPIES - 1)
            copy = partial(source.copy_piece, self._client, self._key, upload_id, piece)
            self._upload.in_flight.launch(copy, len(piece))
        await self._upload.in_flight.settle()
        return await self._commit(self._complete(), source.size_bytes)

    async def discard(self) -> None:
        """Ensure that nothing of it is or becomes visible. Never raises StoreError."""
        await self._upload.cancel()
        if self._publishing is not None:
            await asyncio.gather(self._publishing, return_exceptions=True)
        try:
            await self._roll_back()
        except StoreError as error:
            log.warning(
                "write.left_behind",
                store=self._client.store,
                key=self._key,
                image_id=image_id_of_key(self._key),
                error=str(error),
            )

    async def _publish(self, last: Part | StreamedPart) -> int:
        if self._upload.id is None and isinstance(last, Part):
            commit = self._put(last)
        else:
            await self._upload.send(last)
            await self._upload.in_flight.settle()
            commit = self._complete()
        del last
        return await self._commit(commit, self._upload.size_bytes)

    async def _put(self, part: Part) -> bool:
        checksum = await part.checksum(self._upload.checksum)
        md5 = await part.md5()
        answer = await self._call_conditionally(
            "put_object", body=part, Metadata=self._metadata, **checksum
        )
        return bool(answer.get("ETag", "").strip('"') == md5)

    async def _complete(self) -> bool:
        answer = await self._call_conditionally(
            "complete_multipart_upload",
            before_repeat=self._upload.require_exists,
            UploadId=self._upload.id,
            MultipartUpload={"Parts": self._upload.in_flight.stored()},
        )
        return "ETag" in answer

    async def _call_conditionally(self, operation: str, **parameters: Any) -> S3Response:
        """Fail if such an object exists, where the store supports conditions."""
        if self._client.supports_conditional_writes:
            try:
                return await self._client.call(operation, self._key, IfNoneMatch="*", **parameters)
            except ConditionalWritesUnsupported:
                self._client.supports_conditional_writes = False
        return await self._client.call(operation, self._key, **parameters)

    async def _commit(self, commit: Coroutine[Any, Any, bool], size_bytes: int) -> int:
        self._publishing = asyncio.create_task(self._verify_published(commit, size_bytes))
        await asyncio.shield(self._publishing)
        return size_bytes

    async def _verify_published(self, commit: Coroutine[Any, Any, bool], size_bytes: int) -> None:
        """Check that the blob exists, unless the answer proves it.

        The call may have succeeded despite an error or a missing answer. And a 200 without a result
        may come from a proxy or a portal that stores nothing.
        """
        try:
            is_proven = await commit
        except StoreError:
            with suppress(StoreError):
                if await self._published_bytes() == size_bytes:
                    return
            raise
        if not is_proven and await self._published_bytes() != size_bytes:
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
        is_ours = found.metadata.get(WRITE_ID_METADATA) == self._write_id
        return int(found["ContentLength"]) if is_ours else None

    async def _roll_back(self) -> None:
        aborter = UploadAborter(self._client)
        await self._upload.abort(aborter)
        if self._publishing is not None and await self._published_bytes() is not None:
            await aborter.remove(self._key)
