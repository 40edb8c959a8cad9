"""The check-up of a bucket that is to be a store: what an operator should know at start.

``look`` is one cheap question, for probes that come often. ``rehearse`` tries each call that will
be needed, under a name that is no key, so that nobody takes it for a stray, and says which right or
setting is missing. What it leaves when it dies on the way, a rehearsal of a later day removes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from imaged.core.block import Block
from imaged.core.errors import BlobMissing, StoreError
from imaged.stores.s3_calls import S3Calls
from imaged.stores.s3_errors import FOREIGN
from imaged.stores.s3_lists import list_objects, list_uploads
from imaged.stores.s3_parts import Part, announced
from imaged.stores.s3_sweep import S3Sweep

SCRIPT = b"imaged was here"
SKIPPED = 7  # bytes, when a range is read

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

    async def rehearse(self, name: str | None = None) -> None:
        """Do all that will be done, once; under this name, or one that nobody else has."""
        await self._read_nothing()
        today = datetime.now(UTC).date()
        await self._remove_leftovers(today)
        name = name or f"{REHEARSALS}{today}.{uuid4().hex}"
        try:
            await self._rehearse_upload(name)
            await self._rehearse_object(name)
        except BaseException:
            with suppress(StoreError):
                await self._remove(name)
            raise

    async def _read_nothing(self) -> None:
        """Lists say why they are refused; an answer to HEAD could not."""
        await self._calls.make("list_objects_v2", Prefix=self._calls.settings.root, MaxKeys=1)
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

    async def _rehearse_upload(self, name: str) -> None:
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

    async def _rehearse_object(self, name: str) -> None:
        part = _part()
        checksum = await part.checksum(self._calls.settings.checksum)
        await self._calls.make("put_object", name, body=part, **checksum)
        await self._calls.make("head_object", name)
        self._require(
            [found async for found in list_objects(self._calls, name)] == [name],
            "does not list an object that is there",
        )
        self._require(
            await self._read_from(name, SKIPPED) == SCRIPT[SKIPPED:],
            "does not give the range of an object that was asked for",
        )
        await self._calls.make("delete_object", name)
        await self._require_gone(name)

    async def _read_from(self, name: str, start: int) -> bytes:
        answer = await self._calls.make("get_object", name, Range=f"bytes={start}-")
        try:
            data: bytes = await answer["Body"].read()
        except FOREIGN as error:
            raise self._calls.errors.translate("get_object", name, error) from error
        finally:
            answer["Body"].close()
        return data

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
