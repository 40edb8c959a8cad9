"""The check-up of a bucket that is to be a store: what an operator should know at start.

``look`` is one cheap question, for probes that come often. ``rehearse`` tries each call that will
be needed, in a key of its own, and says which right or setting is missing. Should it die on the
way, what it leaves looks like any stray, and reconcile removes it.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

from imaged.core.block import Block
from imaged.core.errors import BlobMissing, StoreError
from imaged.core.keys import make_key
from imaged.stores.s3_calls import S3Calls
from imaged.stores.s3_errors import FOREIGN
from imaged.stores.s3_lists import list_objects, list_uploads
from imaged.stores.s3_parts import Part, announced
from imaged.stores.s3_sweep import S3Sweep

SCRIPT = b"imaged was here"
SKIPPED = 7  # bytes, when a range is read


class S3Checkup:
    """Looks at one store. Raises StoreError with what to do."""

    def __init__(self, calls: S3Calls) -> None:
        self._calls = calls
        self._sweep = S3Sweep(calls)

    async def look(self) -> None:
        """Ask for the bucket, once."""
        await self._calls.make("head_bucket", attempts=1)

    async def rehearse(self) -> None:
        """Do all that will be done, once."""
        await self._read_nothing()
        key = make_key(str(uuid4()), uuid4())
        try:
            await self._rehearse_upload(key)
            await self._rehearse_object(key)
        except BaseException:
            with suppress(StoreError):
                await self._sweep.end_all(key)
                await self._calls.make("delete_object", key)
            raise

    async def _read_nothing(self) -> None:
        """Lists say why they are refused; an answer to HEAD could not."""
        await self._calls.make("list_objects_v2", Prefix=self._calls.settings.root, MaxKeys=1)
        await self.look()

    async def _rehearse_upload(self, key: str) -> None:
        part, kind = _part(), self._calls.settings.checksum
        begun = await self._calls.make("create_multipart_upload", key, **announced(kind))
        upload_id = begun["UploadId"]
        checksum = await part.checksum(kind)
        await self._calls.make(
            "upload_part", key, body=part, UploadId=upload_id, PartNumber=1, **checksum
        )
        self._require(
            [upload.upload_id async for upload in list_uploads(self._calls, key)] == [upload_id],
            "does not list an upload that is not finished, so what a crash leaves cannot be found",
        )
        await self._sweep.end(key, upload_id)

    async def _rehearse_object(self, key: str) -> None:
        part = _part()
        checksum = await part.checksum(self._calls.settings.checksum)
        await self._calls.make("put_object", key, body=part, **checksum)
        await self._calls.make("head_object", key)
        self._require(
            [found async for found in list_objects(self._calls, key)] == [key],
            "does not list an object that is there",
        )
        self._require(
            await self._read_from(key, SKIPPED) == SCRIPT[SKIPPED:],
            "does not give the range of an object that was asked for",
        )
        await self._calls.make("delete_object", key)
        await self._require_gone(key)

    async def _read_from(self, key: str, start: int) -> bytes:
        answer = await self._calls.make("get_object", key, Range=f"bytes={start}-")
        try:
            data: bytes = await answer["Body"].read()
        except FOREIGN as error:
            raise self._calls.errors.translate("get_object", key, error) from error
        finally:
            answer["Body"].close()
        return data

    async def _require_gone(self, key: str) -> None:
        with suppress(BlobMissing):
            await self._calls.make("head_object", key)
            raise StoreError(self._calls.store, "still has an object that was deleted")

    def _require(self, is_so: bool, why: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not is_so:
            raise StoreError(self._calls.store, why)


def _part() -> Part:
    part = Part(len(SCRIPT))
    part.take(Block([SCRIPT]))
    return part
