"""A bucket for an S3 store: the store, its back door, and an audit at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from imaged.core.secret import Secret
from imaged.stores.s3.settings import S3Settings
from imaged.stores.s3.store import S3Store
from support.fault_proxy import SERVING
from support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY, plain_client
from support.settings import configured

WAIT_TIMEOUT_SECONDS = 10
FOREIGN_OBJECTS = ["notes.txt", "0a/notes.txt", ".tmp/notes.txt"]
MISPLACED_OBJECTS = [
    "0b/0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
    "0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
    "0a/0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001/part",
]


def settings_for(endpoint: str, **changes: Any) -> S3Settings:
    """A folder of its own in the bucket of a test server."""
    settings = configured(
        S3Settings,
        bucket=BUCKET,
        endpoint=endpoint,
        prefix=f"tests/{uuid4().hex}",
        access_key=Secret(ACCESS_KEY),
        secret_key=Secret(SECRET_KEY),
        part_size_bytes=5 * 2**20,
        read_timeout=timedelta(seconds=20),
        retry_for=timedelta(0),  # no attempts beyond the configured number
    )
    return replace(settings, **changes)


def tuned(settings: S3Settings, **values: Any) -> S3Settings:
    """The same settings with other values of ``S3Tuning``."""
    return replace(settings, tuning=replace(settings.tuning, **values))


def elsewhere_in(settings: S3Settings) -> S3Settings:
    """Another folder in the same bucket."""
    return replace(settings, prefix=f"tests/{uuid4().hex}")


@asynccontextmanager
async def opened(settings: S3Settings, name: str = "local") -> AsyncIterator[S3Store]:
    """A store; when it is closed, none of its tasks is running."""
    before = _tasks()
    store = S3Store(name, settings)
    try:
        yield store
    finally:
        await store.close()
    with anyio.fail_after(WAIT_TIMEOUT_SECONDS):
        while left := _tasks() - before:  # servers in this loop have tasks too, which end soon
            await asyncio.wait(left)


def _tasks() -> set[asyncio.Task[Any]]:
    this = asyncio.current_task()
    return {task for task in asyncio.all_tasks() - {this} if task.get_name() != SERVING}


def client_for(settings: S3Settings, endpoint: str | None = None) -> Any:
    """A plain client with the keys of a store, which may be wrong."""
    if settings.access_key is None or settings.secret_key is None:
        return plain_client(endpoint or settings.endpoint)
    keys = (settings.access_key.reveal(), settings.secret_key.reveal())
    return plain_client(endpoint or settings.endpoint, *keys, settings.region)


class BucketBackdoor:
    """A folder in a bucket, seen by a plain client."""

    def __init__(self, settings: S3Settings, endpoint: str | None = None) -> None:
        self.root = settings.root
        self._bucket = settings.bucket
        self._client = client_for(settings, endpoint)

    async def plant(self, key: str, data: bytes) -> None:
        """Insert a complete blob."""
        await self.call("put_object", key, Body=data)

    async def write_unfinished(self, key: str, data: bytes) -> None:
        """Insert what a crash leaves of a write."""
        upload_id = (await self.call("create_multipart_upload", key))["UploadId"]
        await self.call("upload_part", key, UploadId=upload_id, PartNumber=1, Body=data)

    async def write_foreign(self) -> None:
        """Insert objects and uploads with other names, and with key-like names in wrong places."""
        for name in FOREIGN_OBJECTS + MISPLACED_OBJECTS:
            await self.plant(name, b"not ours")
            await self.write_unfinished(name + "x", b"not ours")

    async def read_raw(self, key: str) -> bytes | None:
        """The bytes of a complete blob."""
        answer = await self._unless("NoSuchKey", self.call("get_object", key))
        if answer is None:
            return None
        data: bytes = await asyncio.to_thread(answer["Body"].read)
        return data

    async def metadata(self, key: str) -> dict[str, str]:
        """The metadata of an object."""
        metadata: dict[str, str] = (await self.call("head_object", key))["Metadata"]
        return metadata

    async def etag(self, key: str) -> str:
        """An object's ETag; after an upload in parts it ends with their number."""
        etag: str = (await self.call("head_object", key))["ETag"].strip('"')
        return etag

    async def uploads(self) -> dict[str, str]:
        """The unfinished uploads: the keys, by their ids."""
        found = await self.call("list_multipart_uploads", Prefix=self.root)
        return {
            upload["UploadId"]: upload["Key"].removeprefix(self.root)
            for upload in found.get("Uploads", [])
        }

    async def objects(self) -> list[str]:
        """The names of all objects."""
        found = await self.call("list_objects_v2", Prefix=self.root)
        return [entry["Key"].removeprefix(self.root) for entry in found.get("Contents", [])]

    async def parts(self, key: str, upload_id: str) -> list[int]:
        """The sizes of the parts of an unfinished upload."""
        call = self.call("list_parts", key, UploadId=upload_id)
        found = await self._unless("NoSuchUpload", call)
        return [part["Size"] for part in (found or {}).get("Parts", [])]

    async def until_parts(self, key: str, upload_id: str, sizes: list[int]) -> None:
        """Wait until the parts of an unfinished upload are these."""
        with anyio.fail_after(WAIT_TIMEOUT_SECONDS):
            while await self.parts(key, upload_id) != sizes:  # noqa: ASYNC110 - of a server
                await asyncio.sleep(0.01)

    async def call(self, operation: str, key: str | None = None, **parameters: Any) -> Any:
        """Make a call without the store."""
        if key is not None:
            parameters["Key"] = self.root + key
        work = getattr(self._client, operation)
        return await asyncio.to_thread(work, Bucket=self._bucket, **parameters)

    @staticmethod
    async def _unless(code: str, call: Awaitable[Any]) -> Any:
        """The answer to the call; None if it is this error."""
        try:
            return await call
        except ClientError as error:
            if error.response["Error"]["Code"] != code:
                raise
            return None


class OnBucket:
    """A store in a bucket, and a back door to it. A suite provides the fixture ``s3_settings``."""

    @pytest_asyncio.fixture
    async def store(self, s3_settings: S3Settings) -> AsyncIterator[S3Store]:
        """Empty, audited at the end."""
        async with opened(s3_settings) as store:
            yield store

    @pytest.fixture
    def door(self, s3_settings: S3Settings) -> BucketBackdoor:
        """A back door to it."""
        return BucketBackdoor(s3_settings)
