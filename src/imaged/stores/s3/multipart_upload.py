"""A multipart upload: cuts the blocks of a blob into parts and sends several of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from imaged.core.block import Blocks
from imaged.core.errors import StoreError, StoreFull, WriteDiscarded
from imaged.ports.store import RecordUploadId
from imaged.stores.s3.client import S3Client
from imaged.stores.s3.contents import CompletedPart, UploadAborter
from imaged.stores.s3.part_memory import PartMemoryShare, PartPlanner
from imaged.stores.s3.parts import Part, StreamedPart, checksum_algorithm
from imaged.stores.s3.settings import CRCS, MAX_BLOB_BYTES, MAX_PARTS, Checksum


class MultipartUpload:
    """One upload, which is created when it is needed. Raises StoreError.

    ``share``: the memory that its parts may have. ``record``: as for ``Store.put``. A call that
    creates the upload is never interrupted: ``cancel`` waits for it.
    """

    def __init__(
        self,
        client: S3Client,
        key: str,
        share: PartMemoryShare,
        *,
        expected_bytes: int | None,
        record: RecordUploadId,
        metadata: Mapping[str, str],
    ) -> None:
        self.size_bytes = 0  # of the blocks so far
        self.id: str | None = None
        self.in_flight = PartUploads(client.store, client.settings.tuning.max_parts)
        self._client = client
        self._key = key
        self._share = share
        self._record = record
        self._metadata = metadata
        self._planner = PartPlanner(share, expected_bytes or 0)
        self.checksum = client.settings.checksum
        if self._planner.may_stream and self.checksum in CRCS:
            self.checksum = "md5"  # S3 wants a CRC with all parts of an upload, or with none
        is_small = expected_bytes is not None and expected_bytes <= share.part_bytes
        self._small_bytes = expected_bytes if is_small else None
        self._creating: asyncio.Task[str] | None = None

    async def send_blocks(self, blocks: Blocks) -> Part | StreamedPart:
        """Send all parts but the last; returns the last one. Raises what ``blocks`` raises.

        The upload is not created if the announced size fits into one part.
        """
        if self._small_bytes is None:
            await self.begin(self.checksum)
        part = await self._new_part(self._small_bytes)
        async for block in blocks:
            start = 0
            while start < block.size_bytes:
                if part.is_full:
                    await self.send(part)
                    del part
                    part = await self._new_part()
                end = part.take(block, start)
                self.size_bytes += end - start
                start = end
                if isinstance(part, StreamedPart):
                    await part.drain()
            self.in_flight.raise_failure()
            del block
        return part

    async def begin(self, checksum: Checksum) -> str:
        """Create the upload and record its id; returns the id."""
        self._creating = asyncio.create_task(self._create(checksum))
        upload_id = await asyncio.shield(self._creating)
        await self._record(upload_id)
        return upload_id

    async def send(self, part: Part | StreamedPart) -> None:
        """Begin to send a part that gets no more bytes."""
        if isinstance(part, Part):
            upload_id = self.id or await self.begin(self.checksum)
            self.in_flight.launch(
                partial(self._upload, part, upload_id),
                part.size_bytes,
                at_end=partial(self._share.release, part.limit_bytes),
            )
        elif not part.is_full:  # all others were sent when they were made
            why = f"got fewer bytes of {self._key} than were announced, so a part is incomplete"
            raise StoreError(self._client.store, why)

    async def require_exists(self) -> None:
        """Check that the upload still exists. Raises WriteDiscarded.

        Some servers answer 500 to parts (moto 5.2) or to the completion (Ceph RGW 16.2) of an
        aborted upload, and a retry would not change that.
        """
        try:
            await self._client.call(
                "list_parts", self._key, attempts=1, UploadId=self.id, MaxParts=1
            )
        except WriteDiscarded:
            raise
        except StoreError:  # the next attempt reports it
            return

    async def cancel(self) -> None:
        """Cancel the parts in flight, and wait until the upload is or is not created."""
        await self.in_flight.cancel()
        if self._creating is not None:
            await asyncio.gather(self._creating, return_exceptions=True)

    async def abort(self, aborter: UploadAborter) -> None:
        """Abort it, also if its id was never received."""
        if self.id is not None:
            await aborter.abort(self._key, self.id)
        elif self._creating is not None:
            await aborter.abort_all(self._key)

    async def _create(self, checksum: Checksum) -> str:
        answer = await self._client.call(
            "create_multipart_upload",
            self._key,
            Metadata=self._metadata,
            **checksum_algorithm(checksum),
        )
        upload_id: str = answer["UploadId"]
        self.id = upload_id
        if answer["ResponseMetadata"]["RetryAttempts"]:  # one whose id was not received may exist
            with suppress(StoreError):
                await UploadAborter(self._client).abort_all(self._key, but=upload_id)
        return upload_id

    async def _new_part(self, small_bytes: int | None = None) -> Part | StreamedPart:
        if small_bytes is not None:
            return await self._planner.make_small(small_bytes)
        part = await self._planner.make(self.size_bytes)
        self.in_flight.raise_failure()
        if isinstance(part, StreamedPart):
            self.in_flight.launch(partial(self._stream, part), part.limit_bytes)
        return part

    async def _upload(self, part: Part, upload_id: str, number: int) -> CompletedPart:
        checksum = await part.checksum(self.checksum)
        answer = await self._client.call(
            "upload_part",
            self._key,
            body=part,
            before_repeat=self.require_exists,
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
                UploadId=self.id,
                PartNumber=number,
            )
        finally:
            part.close()
        if answer.has_md5_for_etag and answer["ETag"].strip('"') != part.md5:
            why = f"has other bytes of a part of {self._key}: they were damaged in transit"
            raise StoreError(self._client.store, why)
        return {"PartNumber": number, "ETag": answer["ETag"]}


class PartUploads:
    """The parts in flight, each in a task."""

    def __init__(self, store: str, max_parts: int = MAX_PARTS) -> None:
        self._store = store
        self._max_parts = max_parts
        self._parts = 0
        self._size_bytes = 0
        self._stored: dict[int, CompletedPart] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def launch(
        self,
        work: Callable[[int], Coroutine[Any, Any, CompletedPart]],
        size_bytes: int,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to store the next part; ``work`` gets its number. Raises StoreFull."""
        self._parts += 1
        self._size_bytes += size_bytes
        if self._parts > self._max_parts or self._size_bytes > MAX_BLOB_BYTES:
            why = (
                f"allows a blob {self._max_parts} parts and 5 TiB, and this one needs more: "
                "announce its size, or set a larger part_size"
            )
            raise StoreFull(self._store, why)
        task = asyncio.create_task(self._store_part(self._parts, work))
        self._under_way.add(task)
        task.add_done_callback(self._end)
        task.add_done_callback(lambda _: at_end())

    def raise_failure(self) -> None:
        """Raise the exception of a part that failed, if any."""
        if self._failure is not None:
            raise self._failure

    async def settle(self, at_most: int = 0) -> None:
        """Wait until at most this many are in flight. Raises what storing a part raised."""
        while len(self._under_way) > at_most:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        self.raise_failure()

    def stored(self) -> list[CompletedPart]:
        """The parts that complete the upload, once all are settled."""
        return [self._stored[number] for number in sorted(self._stored)]

    async def cancel(self) -> None:
        """Cancel what is in flight."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _store_part(
        self, number: int, work: Callable[[int], Coroutine[Any, Any, CompletedPart]]
    ) -> None:
        self._stored[number] = await work(number)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if task.cancelled():
            return
        error = task.exception()  # retrieved from each, or asyncio reports it as never retrieved
        self._failure = self._failure or error
