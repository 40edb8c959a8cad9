"""The self-test of a bucket that is to be a store, run at start.

``check_bucket`` is one cheap call, for frequent probes. ``self_test`` tries each call that the
store will need, under a name that is no key, so that the reconciliation does not take it for a
stray. Its errors name the missing right or setting, or what the server lacks. A bucket without room
is no reason to refuse it: downloads, and the scrubber, which frees space, must work then too. If
the process is killed during the test, a self-test at least ``LEFTOVER_AGE`` later removes what it
left.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from uuid import uuid4

from botocore.exceptions import ClientError

from imaged.core.block import Block
from imaged.core.errors import BlobMissing, StoreError, StoreFull
from imaged.core.limits import KIB
from imaged.stores.layout import LEFTOVER_AGE, SELF_TEST_FOLDER
from imaged.stores.s3.client import S3Client, S3Response
from imaged.stores.s3.contents import UploadAborter, list_names, list_objects, list_uploads
from imaged.stores.s3.errors import LIBRARY_ERRORS, is_checksum_mismatch
from imaged.stores.s3.parts import Part, checksum_algorithm
from imaged.stores.s3.reader import S3Reader
from imaged.stores.s3.settings import CRCS, Checksum
from imaged.stores.s3.writer import S3WriteManager

TEST_DATA = b"imaged was here"
RANGE_START = 7  # bytes, read as a range
TEST_METADATA = "imaged-note"  # metadata of the test object
ZEROS = bytes(256 * KIB)

BAD_CHECKSUMS: dict[Checksum, dict[str, str]] = {
    "crc32c": {"ChecksumCRC32C": base64.b64encode(bytes(4)).decode()},
    "crc32": {"ChecksumCRC32": base64.b64encode(bytes(4)).decode()},
    "md5": {"ContentMD5": base64.b64encode(bytes(16)).decode()},
}

SELF_TEST_NAME = re.compile(rf"{SELF_TEST_FOLDER}(\d{{4}}-\d{{2}}-\d{{2}})\.[0-9a-f]{{32}}")


class S3SelfTest:
    """Tests one store. Raises StoreError with the remedy."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._aborter = UploadAborter(client)

    async def check_bucket(self) -> None:
        """Ask for the bucket, once."""
        await self._client.call("head_bucket", attempts=1)

    async def self_test(self, name: str | None = None) -> Sequence[StoreError]:
        """Try every call once, under this name or a unique one.

        Returns what the bucket lacks although it is usable: StoreFull if it has no room. Raises
        StoreError if it is not usable.
        """
        await self._read_nothing()
        today = datetime.now(UTC).date()
        await self._remove_leftovers(today)
        name = name or f"{SELF_TEST_FOLDER}{today}.{uuid4().hex}"
        try:
            return await self._test_all(name)
        except BaseException:
            with suppress(StoreError):
                await self._remove(name)
            raise

    async def _test_all(self, name: str) -> Sequence[StoreError]:
        try:
            await self._test_abort(name)
            await self._test_upload(name)
            await self._test_object(name)
            compares = await self._compares_checksums(name)
        except StoreFull as error:
            await self._remove(name)
            return [error]
        await self._remove(name)
        await self._require_gone(name)
        return [] if compares else [self._without_checksums()]

    async def _read_nothing(self) -> None:
        """Lists give a reason when they are refused; an answer to HEAD cannot.

        A wrong endpoint is reported soon: attempts are counted here, and ``retry_for`` does not
        apply.
        """
        attempts = self._client.settings.attempts
        root = self._client.settings.root
        await self._client.call("list_objects_v2", attempts=attempts, Prefix=root, MaxKeys=1)
        await self.check_bucket()

    async def _remove_leftovers(self, today: date) -> None:
        for name in await list_names(self._client, SELF_TEST_FOLDER):
            if is_leftover(name, today):
                await self._remove(name)

    async def _remove(self, name: str) -> None:
        await self._aborter.abort_all(name)
        await self._aborter.remove(name)

    async def _test_abort(self, name: str) -> None:
        """Test that an upload can be aborted and leaves nothing."""
        part, kind = _part(), self._client.settings.checksum
        begun = await self._client.call("create_multipart_upload", name, **checksum_algorithm(kind))
        upload_id = begun["UploadId"]
        checksum = await part.checksum(kind)
        await self._client.call(
            "upload_part", name, body=part, UploadId=upload_id, PartNumber=1, **checksum
        )
        self._require(
            [upload.upload_id async for upload in list_uploads(self._client, name)] == [upload_id],
            "does not list an upload that is not finished, so what a crash leaves cannot be found",
        )
        await self._aborter.abort(name, upload_id)

    async def _test_upload(self, name: str) -> None:
        """Test a complete upload with a part of ``part_size``, and its removal by its id."""
        recorded: list[str] = []

        async def record(upload_id: str) -> None:
            recorded.append(upload_id)

        size_bytes = self._client.settings.part_size_bytes
        attempts = S3WriteManager(self._client)
        async with attempts.begin(name, None, record, {TEST_METADATA: "kept"}) as write:
            await write.write(_blocks(size_bytes))
        found = await self._client.call("head_object", name)
        self._require(found["ContentLength"] == size_bytes, "reports a wrong size of an object")
        self._require(
            found.metadata.get(TEST_METADATA) == "kept",
            "does not keep the metadata of an object (x-amz-meta-…)",
        )
        self._require("ETag" in found, "reports no ETag of an object")
        self._require(
            await self._read_range(name, found) == TEST_DATA[RANGE_START:],
            "does not send the requested range of an object",
        )
        await self._aborter.abort(name, recorded[0])
        await self._remove(name)
        await self._require_gone(name)

    async def _test_object(self, name: str) -> None:
        part = _part()
        checksum = await part.checksum(self._client.settings.checksum)
        await self._client.call("put_object", name, body=part, **checksum)
        await self._client.call("head_object", name)
        self._require(
            [found async for found in list_objects(self._client, name)] == [name],
            "does not list an object that is there",
        )

    async def _compares_checksums(self, name: str) -> bool:
        """Test that bytes are refused if they do not match their checksum."""
        wrong = BAD_CHECKSUMS.get(self._client.settings.checksum)
        if wrong is None:  # no checksum is sent
            return True
        try:
            await self._client.call_once("put_object", name, body=_part(), **wrong)
        except LIBRARY_ERRORS as error:
            if isinstance(error, ClientError) and is_checksum_mismatch(error):
                return True
            raise self._client.errors.translate("put_object", name, error) from error
        return False

    def _without_checksums(self) -> StoreError:
        kind = self._client.settings.checksum
        remedy = 'set checksum = "md5"' if kind in CRCS else "use https"
        why = f"accepts bytes that do not match their checksum ({kind}): {remedy}"
        return StoreError(self._client.store, why)

    async def _read_range(self, name: str, found: S3Response) -> bytes:
        async with S3Reader(self._client, name, found, RANGE_START) as reader:
            return await reader.read(len(TEST_DATA) - RANGE_START)

    async def _require_gone(self, name: str) -> None:
        with suppress(BlobMissing):
            await self._client.call("head_object", name)
            raise StoreError(self._client.store, "still has an object that was deleted")

    def _require(self, is_so: bool, why: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not is_so:
            raise StoreError(self._client.store, why)


def is_leftover(name: str, today: date) -> bool:
    """Whether this belongs to a self-test so old that its process has died."""
    match = SELF_TEST_NAME.fullmatch(name)
    try:
        return match is not None and date.fromisoformat(match[1]) < today - LEFTOVER_AGE
    except ValueError:  # not a valid date, so not written by a self-test
        return False


def _part() -> Part:
    part = Part(len(TEST_DATA))
    part.take(Block([TEST_DATA]))
    return part


async def _blocks(size_bytes: int) -> AsyncIterator[Block]:
    """``size_bytes`` of data in constant memory: all blocks but the first are the same zeros."""
    yield Block([TEST_DATA])
    left = size_bytes - len(TEST_DATA)
    while left:
        length = min(left, len(ZEROS))
        yield Block([ZEROS if length == len(ZEROS) else ZEROS[:length]])
        left -= length
