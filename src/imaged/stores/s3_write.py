"""One attempt to write one blob, from its first byte to its name.

Strategy. A blob whose announced size fits into one part is put at once. Every other is a multipart
upload from the beginning, however little comes in the end: so a delete that ends the upload ends
the write, and lists show it. It becomes visible when the upload is completed.

Who publishes a blob and hears of a failure, or nothing, looks whether it is there: each attempt
leaves a mark of its own in the object's metadata. A call that begins or publishes is never cut off
in the middle: who is cancelled meanwhile lets it come to its end, and takes back what it did. A
write that fails ends its upload, and removes the blob if it was published and carries its mark.
All of that is courtesy: a process that dies here leaves a row in the ledger.
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
from imaged.ports.store import Record, forget_upload
from imaged.stores.s3_calls import Answer, S3Calls
from imaged.stores.s3_copy import PIECES_AT_ONCE, S3Source
from imaged.stores.s3_errors import ConditionUnknown
from imaged.stores.s3_flight import Flight, Stored
from imaged.stores.s3_part_planner import PartPlanner
from imaged.stores.s3_parts import Part, announced
from imaged.stores.s3_room import Share
from imaged.stores.s3_settings import Checksum
from imaged.stores.s3_streamed_part import StreamedPart
from imaged.stores.s3_sweep import S3Sweep

log = structlog.get_logger()

MARK = "imaged-write"  # the name of the metadata that says whose attempt an object is
NO_NOTES: Mapping[str, str] = MappingProxyType({})


class S3Write:
    """An attempt. Ends with ``publish``, or with ``discard``.

    ``notes``: what the object says of itself besides, in ASCII.
    """

    def __init__(
        self,
        calls: S3Calls,
        key: str,
        share: Share,
        *,
        expected_bytes: int | None = None,
        record: Record = forget_upload,
        notes: Mapping[str, str] = NO_NOTES,
    ) -> None:
        self._calls = calls
        self._key = key
        self._share = share
        self._record = record
        self._planner = PartPlanner(share, expected_bytes or 0)
        self._checksum = calls.settings.checksum
        if self._planner.may_stream and self._checksum == "crc32":
            self._checksum = "md5"  # S3 wants CRC32 with all parts of an upload, or with none
        is_small = expected_bytes is not None and expected_bytes <= share.part_bytes
        self._small_bytes = expected_bytes if is_small else None
        self._mark = uuid4().hex
        self._metadata = {MARK: self._mark, **notes}
        self._size_bytes = 0
        self._upload_id: str | None = None
        self._flight = Flight(calls.store)
        self._beginning: asyncio.Task[str] | None = None
        self._publishing: asyncio.Task[None] | None = None

    async def fill(self, blocks: AsyncIterable[Block]) -> Part | StreamedPart:
        """Send all parts but the last; the last one. Raises StoreError, and what others raise."""
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
            self._flight.raise_failure()
            del block  # nobody may keep it alive while we wait for more
        return part

    async def publish(self, last: Part | StreamedPart) -> int:
        """Send the last part, make all of it visible, and return its size. Raises StoreError."""
        if self._upload_id is None and isinstance(last, Part):
            commit = self._put(last)
        else:
            await self._send(last)
            await self._flight.settle()
            commit = self._complete()
        del last
        return await self._commit(commit)

    async def copy(self, source: S3Source, *, once: bool = False) -> int:
        """Have all of it copied and made visible, and return its size. Raises StoreError.

        ``once``: not where such an object is there. Few stores know that condition of a plain
        copy, more of an upload's completion; so then it is an upload, however small it is.
        """
        self._size_bytes = source.size_bytes
        if source.is_small and not once:
            return await self._commit(source.copy(self._calls, self._key, self._metadata))
        upload_id = await self._begin(checksum="none")
        for piece in source.pieces():
            await self._flight.settle(PIECES_AT_ONCE - 1)
            copy = partial(source.copy_piece, self._calls, self._key, upload_id, piece)
            self._flight.launch(copy, len(piece))
        await self._flight.settle()
        return await self._commit(self._complete())

    async def discard(self) -> None:
        """Make sure that nothing of it is or becomes visible. Never raises StoreError."""
        await self._flight.cancel()
        calls = filter(None, [self._beginning, self._publishing])
        await asyncio.gather(*calls, return_exceptions=True)
        try:
            await self._take_back()
        except StoreError as error:
            log.warning(
                "write.left_behind", store=self._calls.store, key=self._key, error=str(error)
            )

    async def _begin(self, checksum: Checksum) -> str:
        self._beginning = asyncio.create_task(self._create(checksum))
        upload_id = await asyncio.shield(self._beginning)
        await self._record(upload_id)
        return upload_id

    async def _create(self, checksum: Checksum) -> str:
        answer = await self._calls.make(
            "create_multipart_upload",
            self._key,
            Metadata=self._metadata,
            **announced(checksum),
        )
        upload_id: str = answer["UploadId"]
        self._upload_id = upload_id
        if answer["ResponseMetadata"]["RetryAttempts"]:  # one that we were not told of may be there
            with suppress(StoreError):
                await S3Sweep(self._calls).end_all(self._key, but=upload_id)
        return upload_id

    async def _new_part(self, small_bytes: int | None = None) -> Part | StreamedPart:
        if small_bytes is not None:
            return await self._planner.make_small(small_bytes)
        part = await self._planner.make(self._size_bytes)
        self._flight.raise_failure()
        if isinstance(part, StreamedPart):
            self._flight.launch(partial(self._stream, part), part.limit_bytes)
        return part

    async def _send(self, part: Part | StreamedPart) -> None:
        if isinstance(part, Part):
            upload_id = self._upload_id or await self._begin(self._checksum)
            self._flight.launch(
                partial(self._upload, part, upload_id),
                part.size_bytes,
                at_end=partial(self._share.give_back, part.limit_bytes),
            )
        elif not part.is_full:  # all others are on their way since they were made
            why = f"got fewer bytes of {self._key} than were announced, so a part has no end"
            raise StoreError(self._calls.store, why)

    async def _upload(self, part: Part, upload_id: str, number: int) -> Stored:
        checksum = await part.checksum(self._checksum)
        answer = await self._calls.make(
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

    async def _stream(self, part: StreamedPart, number: int) -> Stored:
        try:
            answer = await self._calls.make(
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
            why = f"has other bytes of a part of {self._key}: they were damaged on their way"
            raise StoreError(self._calls.store, why)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    async def _put(self, part: Part) -> bool:
        checksum = await part.checksum(self._checksum)
        md5 = await part.md5()
        answer = await self._make_once("put_object", body=part, Metadata=self._metadata, **checksum)
        return bool(answer.get("ETag", "").strip('"') == md5)

    async def _complete(self) -> bool:
        answer = await self._make_once(
            "complete_multipart_upload",
            before_repeat=self._require_upload,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._flight.stored()},
        )
        return "ETag" in answer

    async def _require_upload(self) -> None:
        """Look whether the upload is still there. Raises WriteDiscarded.

        Some answer 500 to parts (moto 5.2) or the completion (Ceph RGW 16.2) of one that was
        aborted, and a repeat would not change that.
        """
        try:
            await self._calls.make(
                "list_parts", self._key, attempts=1, UploadId=self._upload_id, MaxParts=1
            )
        except WriteDiscarded:
            raise
        except StoreError:  # then the next attempt tells
            return

    async def _make_once(self, operation: str, **parameters: Any) -> Answer:
        """With the condition that no such object is there, where the store knows conditions."""
        if self._calls.knows_conditions:
            try:
                return await self._calls.make(operation, self._key, IfNoneMatch="*", **parameters)
            except ConditionUnknown:
                self._calls.knows_conditions = False
        return await self._calls.make(operation, self._key, **parameters)

    async def _commit(self, commit: Coroutine[Any, Any, bool]) -> int:
        self._publishing = asyncio.create_task(self._assured(commit))
        await asyncio.shield(self._publishing)
        return self._size_bytes

    async def _assured(self, commit: Coroutine[Any, Any, bool]) -> None:
        """Look whether the blob is there, unless the answer proves it.

        It may have gone well although we were told something else, or nothing. And a 200 without a
        result may come from a proxy or a portal that keeps nothing.
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
                "look whether something between answers in its place"
            )
            raise StoreError(self._calls.store, why)

    async def _published_bytes(self) -> int | None:
        """The size of the blob, if it is there and ours."""
        try:
            found = await self._calls.make("head_object", self._key)
        except BlobMissing:
            return None
        is_ours = found.notes.get(MARK) == self._mark
        return int(found["ContentLength"]) if is_ours else None

    async def _take_back(self) -> None:
        sweep = S3Sweep(self._calls)
        if self._upload_id is not None:
            await sweep.end(self._key, self._upload_id)
        elif self._beginning is not None:
            await sweep.end_all(self._key)
        if self._publishing is not None and await self._published_bytes() is not None:
            await sweep.remove(self._key)
