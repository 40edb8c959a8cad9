"""Exports to a bucket of S3, below a prefix that does not belong to a store.

Strategy. The bytes first become an object of another name, ``.imaged-<task id>.<attempt>``, whose
metadata has the file's final name. When it is complete, S3 copies it to that name, on the condition
that the name is free; the copy's metadata has the id of the task. Then the first object is removed.
So a retry of a task knows what was exported. After a crash, the leftovers are found by the name of
the first object or of its upload, and an upload of the copy by the metadata of the first object.

The condition is as reliable as the service: some check first and write then, and some ignore it. So
the driver also checks before each copy, and a process makes one copy to a name at a time. What
remains is the case of two instances that export to one name at the same moment with such a service:
the later one wins.

It needs the same rights as a store (``stores/s3/store.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from urllib.parse import quote, unquote
from uuid import uuid4
from weakref import WeakValueDictionary

import structlog

from imaged.core.block import Block, Blocks
from imaged.core.errors import BlobExists, BlobMissing, StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.core.place_marker import PlaceKind
from imaged.exports.conventions import (
    TEMPORARY_PREFIX,
    store_label,
    task_id_of,
    temporary_name,
    translated_errors,
)
from imaged.ports.export import ExportFile
from imaged.stores.s3.client import S3Client
from imaged.stores.s3.contents import S3CopySource, UploadAborter, find_object, list_names
from imaged.stores.s3.marker import BucketMarker
from imaged.stores.s3.reader import S3Reader
from imaged.stores.s3.self_test import S3SelfTest
from imaged.stores.s3.settings import S3Settings
from imaged.stores.s3.writer import S3WriteManager

log = structlog.get_logger()

TASK_METADATA = "imaged-task"  # metadata of a file: the task that exported it
FILE_NAME_METADATA = "imaged-file-name"  # metadata of a temporary object: the file's final name
ROLLBACK_PENDING = "an attempt before this one may still take it away: ask for the export again"


class S3Export:
    """Writes exports to a bucket. Is a ``Destination`` (``ports/export.py``)."""

    has_own_timeout = True  # connect_timeout, read_timeout, attempts

    def __init__(self, name: str, settings: S3Settings) -> None:
        self.name = name
        self._settings = settings
        self._client = S3Client(store_label(name), settings)
        self._attempts = S3WriteManager(self._client)
        self._aborter = UploadAborter(self._client)
        self.place = BucketMarker(PlaceKind.EXPORTS, name, self._client)
        self._names: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def location_of(self, file_name: str) -> str:
        """Its name, as tools for S3 write it."""
        return f"s3://{self._settings.bucket}/{self._settings.root}{file_name}"

    async def check(self) -> None:
        """Test every operation. After a crash, the leftovers have the name of an unknown task."""
        key = temporary_name(ExportFile(str(uuid4()), uuid4(), ""))
        with translated_errors(self.name):
            for lack in await S3SelfTest(self._client).self_test(key):
                if isinstance(lack, StoreFull):
                    raise lack
                log.warning("export.lacks", destination=self.name, error=lack.why)

    async def has(self, file_name: str) -> bool:
        """Whether an object of this name exists."""
        with translated_errors(self.name):
            return await find_object(self._client, file_name) is not None

    async def has_delivered(self, export_file: ExportFile) -> bool:
        """Whether the object's metadata names this task."""
        with translated_errors(self.name):
            found = await find_object(self._client, export_file.file_name)
            is_ours = found is not None and found.metadata.get(TASK_METADATA) == export_file.task_id
            if is_ours and self._attempts.may_roll_back(export_file.file_name):
                raise StoreError(
                    self._client.store, f"has {export_file.file_name}, and {ROLLBACK_PENDING}"
                )
        return is_ours

    async def deliver(
        self, export_file: ExportFile, blocks: Blocks, expected_bytes: int | None = None
    ) -> int:
        """Write a file; returns its size in bytes. Raises ExportExists, ExportFull, ExportError."""
        unfinished = temporary_name(export_file)
        metadata = {FILE_NAME_METADATA: quote(export_file.file_name)}
        with translated_errors(self.name):
            await self._require_free(export_file.file_name)
            async with self._attempts.begin(unfinished, expected_bytes, metadata=metadata) as write:
                size_bytes = await write.write(blocks)
            await self._publish(export_file, unfinished)
        await self._attempts.finish(self._forget(unfinished))  # cancelled or not: it is exported
        return size_bytes

    async def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of an object."""
        with translated_errors(self.name):
            found = await self._client.call("head_object", file_name)
        async with S3Reader(self._client, file_name, found) as reader:
            while True:
                with translated_errors(self.name):
                    data = await reader.read(MIB)
                if not data:
                    return
                yield data

    async def leftovers(self) -> set[str]:
        """The tasks that have objects or uploads here."""
        with translated_errors(self.name):
            names = await list_names(self._client, TEMPORARY_PREFIX)
        return {task_id for name in names if (task_id := task_id_of(name))}

    async def remove(self, task_id: str) -> None:
        """Remove objects and uploads, and abort what would have become a file."""
        with translated_errors(self.name):
            for name in sorted(await list_names(self._client, f"{TEMPORARY_PREFIX}{task_id}.")):
                with suppress(BlobMissing):
                    found = await self._client.call("head_object", name)
                    if file_name := unquote(found.metadata.get(FILE_NAME_METADATA, "")):
                        await self._aborter.abort_all(file_name)
                await self._aborter.abort_all(name)
                await self._aborter.remove(name)

    async def close(self) -> None:
        """Close all connections, after giving pending rollbacks their time."""
        await self._attempts.settle()
        await self._client.close()

    async def _publish(self, export_file: ExportFile, unfinished: str) -> None:
        found = await self._client.call("head_object", unfinished)
        metadata = {TASK_METADATA: export_file.task_id}
        async with self._names.setdefault(export_file.file_name, asyncio.Lock()):
            await self._require_free(export_file.file_name)
            async with self._attempts.begin(export_file.file_name, 0, metadata=metadata) as write:
                if found["ContentLength"]:
                    await write.copy(S3CopySource(self._settings, unfinished, found), once=True)
                else:  # S3 has no upload without bytes
                    await write.write(_nothing())

    async def _forget(self, unfinished: str) -> None:
        with suppress(StoreError):  # the clean-up of the task removes what is left
            await self._aborter.remove(unfinished)

    async def _require_free(self, file_name: str) -> None:
        if await find_object(self._client, file_name) is not None:
            raise BlobExists(self._client.store, file_name)


async def _nothing() -> AsyncIterator[Block]:
    return
    yield Block([])  # makes it a generator
