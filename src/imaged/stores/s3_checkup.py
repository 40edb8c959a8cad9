"""The check-up of a bucket that is to be a store: what an operator should know at start.

``look`` is one cheap question, for probes that come often. ``rehearse`` tries each call that will
be needed, under a name that is no key, so that nothing takes it for a stray, and says which right
or setting is missing, and what the server lacks. A bucket without room is no reason to refuse it:
downloads and the scrubber, which makes room, must work then too. What a rehearsal leaves when it is
killed on the way, one of a later day removes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from botocore.exceptions import ClientError

from imaged.core.block import Block
from imaged.core.errors import BlobMissing, StoreError, StoreFull
from imaged.core.limits import KIB
from imaged.stores.s3_attempts import S3Attempts
from imaged.stores.s3_calls import Answer, S3Calls
from imaged.stores.s3_errors import FOREIGN, is_refusal_of_bytes
from imaged.stores.s3_lists import list_objects, list_uploads
from imaged.stores.s3_parts import Part, announced
from imaged.stores.s3_reader import S3Reader
from imaged.stores.s3_settings import Checksum
from imaged.stores.s3_sweep import S3Sweep

SCRIPT = b"imaged was here"
SKIPPED = 7  # bytes, when a range is read
NOTE = "imaged-note"  # metadata of what is rehearsed
ZEROS = bytes(256 * KIB)

WRONG_CHECKSUMS: dict[Checksum, dict[str, str]] = {
    "crc32": {"ChecksumCRC32": base64.b64encode(bytes(4)).decode()},
    "md5": {"ContentMD5": base64.b64encode(bytes(16)).decode()},
}

REHEARSALS = "rehearsals/"  # below the root
REHEARSAL = re.compile(rf"{REHEARSALS}(\d{{4}}-\d{{2}}-\d{{2}})\.[0-9a-f]{{32}}")
LONGEST = timedelta(days=1)  # what is older than this belongs to no rehearsal that still runs


class S3Checkup:
    """Looks at one store. Raises StoreError with what to do."""

    def __init__(self, calls: S3Calls) -> None:
        self._calls = calls
        self._sweep = S3Sweep(calls)

    async def look(self) -> None:
        """Ask for the bucket, once."""
        await self._calls.make("head_bucket", attempts=1)

    async def rehearse(self, name: str | None = None) -> Sequence[StoreError]:
        """Do all that will be done, once; under this name, or one that nothing else has.

        Returns what the bucket lacks although it can be used: StoreFull where it has no room.
        Raises StoreError where it cannot be used.
        """
        await self._read_nothing()
        today = datetime.now(UTC).date()
        await self._remove_leftovers(today)
        name = name or f"{REHEARSALS}{today}.{uuid4().hex}"
        try:
            return await self._rehearse_all(name)
        except BaseException:
            with suppress(StoreError):
                await self._remove(name)
            raise

    async def _rehearse_all(self, name: str) -> Sequence[StoreError]:
        try:
            await self._rehearse_abort(name)
            await self._rehearse_upload(name)
            await self._rehearse_object(name)
            compares = await self._compares_checksums(name)
        except StoreFull as error:
            await self._remove(name)
            return [error]
        await self._remove(name)
        await self._require_gone(name)
        return [] if compares else [self._without_checksums()]

    async def _read_nothing(self) -> None:
        """Lists say why they are refused; an answer to HEAD could not.

        A wrong endpoint is told soon: so the attempts are counted, and their time is not measured.
        """
        attempts = self._calls.settings.attempts
        root = self._calls.settings.root
        await self._calls.make("list_objects_v2", attempts=attempts, Prefix=root, MaxKeys=1)
        await self.look()

    async def _remove_leftovers(self, today: date) -> None:
        uploads = [found.name async for found in list_uploads(self._calls, REHEARSALS)]
        objects = [name async for name in list_objects(self._calls, REHEARSALS)]
        for name in {*uploads, *objects}:
            if is_leftover(name, today):
                await self._remove(name)

    async def _remove(self, name: str) -> None:
        await self._sweep.end_all(name)
        await self._sweep.remove(name)

    async def _rehearse_abort(self, name: str) -> None:
        """What becomes of an upload that fails."""
        part, kind = _part(), self._calls.settings.checksum
        begun = await self._calls.make("create_multipart_upload", name, **announced(kind))
        upload_id = begun["UploadId"]
        checksum = await part.checksum(kind)
        await self._calls.make(
            "upload_part", name, body=part, UploadId=upload_id, PartNumber=1, **checksum
        )
        self._require(
            [upload.upload_id async for upload in list_uploads(self._calls, name)] == [upload_id],
            "does not list an upload that is not finished, so what a crash leaves cannot be found",
        )
        await self._sweep.end(name, upload_id)

    async def _rehearse_upload(self, name: str) -> None:
        """One that is completed, with a part of ``part_size``; and its end, by its id."""
        recorded: list[str] = []

        async def record(upload_id: str) -> None:
            recorded.append(upload_id)

        size_bytes = self._calls.settings.part_size_bytes
        attempts = S3Attempts(self._calls)
        async with attempts.begin(name, None, record, {NOTE: "kept"}) as write:
            await write.publish(await write.fill(_blocks(size_bytes)))
        found = await self._calls.make("head_object", name)
        self._require(found["ContentLength"] == size_bytes, "has another size of an object")
        self._require(
            found.notes.get(NOTE) == "kept",
            "does not keep what an object says of itself (x-amz-meta-…)",
        )
        self._require(
            await self._read_range(name, found) == SCRIPT[SKIPPED:],
            "does not give the range of an object that was asked for",
        )
        await self._sweep.end(name, recorded[0])
        await self._remove(name)
        await self._require_gone(name)

    async def _rehearse_object(self, name: str) -> None:
        part = _part()
        checksum = await part.checksum(self._calls.settings.checksum)
        await self._calls.make("put_object", name, body=part, **checksum)
        await self._calls.make("head_object", name)
        self._require(
            [found async for found in list_objects(self._calls, name)] == [name],
            "does not list an object that is there",
        )

    async def _compares_checksums(self, name: str) -> bool:
        """Whether bytes are refused that do not fit the checksum that goes with them."""
        wrong = WRONG_CHECKSUMS.get(self._calls.settings.checksum)
        if wrong is None:  # none goes with them
            return True
        try:
            await self._calls.once("put_object", name, body=_part(), **wrong)
        except FOREIGN as error:
            if isinstance(error, ClientError) and is_refusal_of_bytes(error):
                return True
            raise self._calls.errors.translate("put_object", name, error) from error
        return False

    def _without_checksums(self) -> StoreError:
        kind = self._calls.settings.checksum
        remedy = 'set checksum = "md5"' if kind == "crc32" else "use https"
        why = f"takes bytes that do not fit their checksum ({kind}): {remedy}"
        return StoreError(self._calls.store, why)

    async def _read_range(self, name: str, found: Answer) -> bytes:
        reader = S3Reader(
            self._calls, name, size_bytes=found["ContentLength"], etag=found["ETag"], start=SKIPPED
        )
        try:
            return await reader.read(len(SCRIPT) - SKIPPED)
        finally:
            await reader.close()

    async def _require_gone(self, name: str) -> None:
        with suppress(BlobMissing):
            await self._calls.make("head_object", name)
            raise StoreError(self._calls.store, "still has an object that was deleted")

    def _require(self, is_so: bool, why: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not is_so:
            raise StoreError(self._calls.store, why)


def is_leftover(name: str, today: date) -> bool:
    """Whether this was rehearsed so long ago that whoever did it has died on the way."""
    match = REHEARSAL.fullmatch(name)
    try:
        return match is not None and date.fromisoformat(match[1]) < today - LONGEST
    except ValueError:  # no day of the calendar, so nothing of ours
        return False


def _part() -> Part:
    part = Part(len(SCRIPT))
    part.take(Block([SCRIPT]))
    return part


async def _blocks(size_bytes: int) -> AsyncIterator[Block]:
    """So many bytes, which take no memory: all but the first are the same zeros."""
    yield Block([SCRIPT])
    left = size_bytes - len(SCRIPT)
    while left:
        length = min(left, len(ZEROS))
        yield Block([ZEROS if length == len(ZEROS) else ZEROS[:length]])
        left -= length
