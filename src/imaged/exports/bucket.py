"""Exports to a bucket of S3, below a prefix that does not belong to a store.

Strategy. The bytes become an object of another name first, ``.imaged-<task id>.<attempt>``, which
also says what the file is to be called. When it is whole, S3 copies it to that name, on the
condition that nothing has it, and the copy tells the task that made it; then the first object goes.
So whoever repeats a task knows what was delivered. What a crash leaves is found by the name of the
first object, or of its upload; and an upload of the copy by what the first object says.

That condition is as good as the service is: some look first and write then, and some know none. So
it is looked before each copy, and a process makes one copy to a name at a time. What is left are
two instances that export to one name within the same moment, at such a service: the later one wins.

Rights it needs: as a store (``stores/s3.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress
from urllib.parse import quote, unquote
from uuid import uuid4
from weakref import WeakValueDictionary

import structlog

from imaged.core.block import Block
from imaged.core.errors import BlobExists, BlobMissing, StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.core.places import PlaceKind
from imaged.exports.border import border, label_of
from imaged.exports.unfinished import PREFIX, task_of, unfinished_name
from imaged.ports.export import Parcel
from imaged.stores.marked_bucket import MarkedBucket
from imaged.stores.s3_attempts import S3Attempts
from imaged.stores.s3_calls import Answer, S3Calls
from imaged.stores.s3_checkup import S3Checkup
from imaged.stores.s3_copy import S3Source
from imaged.stores.s3_lists import list_objects, list_uploads
from imaged.stores.s3_reader import S3Reader
from imaged.stores.s3_session import S3Session
from imaged.stores.s3_settings import S3Settings
from imaged.stores.s3_sweep import S3Sweep

log = structlog.get_logger()

TASK = "imaged-task"  # metadata of a file: the task that delivered it
UNDECIDED = "an attempt before this one may still take it away: ask for the export again"
FILE_NAME = "imaged-file-name"  # metadata of what is not a file yet: what it is to be called


class Bucket:
    """A Destination (``ports/export.py``)."""

    has_limits = True  # connect_timeout, read_timeout, attempts

    def __init__(self, name: str, settings: S3Settings) -> None:
        self.name = name
        self._settings = settings
        self._session = S3Session(settings)
        self._calls = S3Calls(label_of(name), settings, self._session)
        self._attempts = S3Attempts(self._calls)
        self._sweep = S3Sweep(self._calls)
        self.place = MarkedBucket(PlaceKind.EXPORTS, name, self._calls)
        self._names: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def location_of(self, file_name: str) -> str:
        """Its name, as tools for S3 write it."""
        return f"s3://{self._settings.bucket}/{self._settings.root}{file_name}"

    async def check(self) -> None:
        """Try everything. What a crash leaves of it has the name of a task that nobody knows."""
        key = unfinished_name(Parcel(str(uuid4()), uuid4(), ""))
        with border(self.name):
            for lack in await S3Checkup(self._calls).rehearse(key):
                if isinstance(lack, StoreFull):
                    raise lack
                log.warning("export.lacks", destination=self.name, error=lack.why)

    async def has(self, file_name: str) -> bool:
        """Whether there is an object of this name."""
        with border(self.name):
            return await self._look_for(file_name) is not None

    async def has_delivered(self, parcel: Parcel) -> bool:
        """Whether the object says that it is of this task."""
        with border(self.name):
            found = await self._look_for(parcel.file_name)
            is_ours = found is not None and found.notes.get(TASK) == parcel.task_id
            if is_ours and self._attempts.is_undecided(parcel.file_name):
                raise StoreError(self._calls.store, f"has {parcel.file_name}, and {UNDECIDED}")
        return is_ours

    async def deliver(
        self, parcel: Parcel, blocks: AsyncIterable[Block], expected_bytes: int | None = None
    ) -> int:
        """Write a file; its size in bytes. Raises ExportExists, ExportFull, ExportError."""
        unfinished = unfinished_name(parcel)
        notes = {FILE_NAME: quote(parcel.file_name)}
        with border(self.name):
            await self._require_free(parcel.file_name)
            async with self._attempts.begin(unfinished, expected_bytes, notes=notes) as write:
                size_bytes = await write.publish(await write.fill(blocks))
            await self._publish(parcel, unfinished)
        await self._attempts.finish(self._forget(unfinished))  # cancelled or not: it is delivered
        return size_bytes

    async def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of an object."""
        with border(self.name):
            found = await self._calls.make("head_object", file_name)
        size_bytes: int = found["ContentLength"]
        reader = S3Reader(
            self._calls, file_name, size_bytes=size_bytes, etag=found.get("ETag"), start=0
        )
        try:
            while True:
                with border(self.name):
                    data = await reader.read(MIB)
                if not data:
                    return
                yield data
        finally:
            await reader.close()

    async def leftovers(self) -> set[str]:
        """The tasks that have objects or uploads here."""
        with border(self.name):
            names = {upload.name async for upload in list_uploads(self._calls, PREFIX)}
            names |= {name async for name in list_objects(self._calls, PREFIX)}
        return {task_id for name in names if (task_id := task_of(name))}

    async def remove(self, task_id: str) -> None:
        """Remove objects and uploads, and end what would have become a file."""
        with border(self.name):
            async for name in self._unfinished(task_id):
                with suppress(BlobMissing):
                    found = await self._calls.make("head_object", name)
                    if file_name := unquote(found.notes.get(FILE_NAME, "")):
                        await self._sweep.end_all(file_name)
                await self._sweep.end_all(name)
                await self._sweep.remove(name)

    async def close(self) -> None:
        """Close all connections, when those that clean up have had their time."""
        await self._attempts.settle()
        await self._session.close()

    async def _publish(self, parcel: Parcel, unfinished: str) -> None:
        found = await self._calls.make("head_object", unfinished)
        notes = {TASK: parcel.task_id}
        async with self._names.setdefault(parcel.file_name, asyncio.Lock()):
            await self._require_free(parcel.file_name)
            async with self._attempts.begin(parcel.file_name, 0, notes=notes) as write:
                if found["ContentLength"]:
                    await write.copy(S3Source(self._settings, unfinished, found), once=True)
                else:  # S3 has no upload of nothing
                    await write.publish(await write.fill(_nothing()))

    async def _forget(self, unfinished: str) -> None:
        with suppress(StoreError):  # what is left goes when the task has ended
            await self._sweep.remove(unfinished)

    async def _require_free(self, file_name: str) -> None:
        if await self._look_for(file_name) is not None:
            raise BlobExists(self._calls.store, file_name)

    async def _look_for(self, file_name: str) -> Answer | None:
        try:
            return await self._calls.make("head_object", file_name)
        except BlobMissing:
            await self._calls.make("head_bucket")  # if that is gone, it is another trouble
            return None

    async def _unfinished(self, task_id: str) -> AsyncIterator[str]:
        prefix = f"{PREFIX}{task_id}."
        names = {upload.name async for upload in list_uploads(self._calls, prefix)}
        names |= {name async for name in list_objects(self._calls, prefix)}
        for name in sorted(names):
            yield name


async def _nothing() -> AsyncIterator[Block]:
    return
    yield Block([])  # makes it a generator
