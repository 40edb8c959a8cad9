"""The contract of exports to a bucket; each tested S3 server inherits it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from contracts.export import DestinationContract, another_attempt, export_file
from contracts.store_bodies import body, some_bytes
from contracts.store_bucket import BucketBackdoor, tuned
from imaged.core.errors import ExportError
from imaged.core.limits import MIB
from imaged.core.place_marker import MARKER_NAME
from imaged.exports.conventions import temporary_name
from imaged.exports.s3 import FILE_NAME_METADATA, TASK_METADATA, S3Export
from imaged.stores.s3.contents import S3CopySource
from imaged.stores.s3.settings import S3Settings
from imaged.stores.s3.writer import S3Writer


class ExportBackdoor(BucketBackdoor):
    """Everything in it has a name, also unfinished files."""

    async def names(self) -> set[str]:
        """Objects and uploads."""
        return {*await self.objects(), *(await self.uploads()).values()} - {MARKER_NAME}


@asynccontextmanager
async def opened(settings: S3Settings) -> AsyncIterator[S3Export]:
    """An export."""
    bucket = S3Export("archive", settings)
    try:
        yield bucket
    finally:
        await bucket.close()


class BucketDestinationContract(DestinationContract):
    """The contract, and features of buckets only. A suite provides the fixture ``s3_settings``."""

    @pytest_asyncio.fixture
    async def destination(self, s3_settings: S3Settings) -> AsyncIterator[S3Export]:
        """Empty."""
        async with opened(s3_settings) as bucket:
            yield bucket

    @pytest.fixture
    def door(self, s3_settings: S3Settings) -> ExportBackdoor:
        """A back door to it."""
        return ExportBackdoor(s3_settings)

    async def test_a_file_tells_its_task(
        self, destination: S3Export, door: ExportBackdoor, s3_settings: S3Settings
    ) -> None:
        """And nothing else is left of the export, before any cleanup."""
        this = export_file("a/ü.raw")

        await destination.deliver(this, body(some_bytes(11 * MIB)))

        assert await door.names() == {"a/ü.raw"}
        assert (await door.metadata("a/ü.raw"))[TASK_METADATA] == this.task_id
        location = f"s3://{s3_settings.bucket}/{s3_settings.root}a/ü.raw"
        assert destination.location_of("a/ü.raw") == location

    async def test_large_ones_are_copied_in_pieces(
        self, s3_settings: S3Settings, door: ExportBackdoor
    ) -> None:
        """With the same bytes."""
        data = some_bytes(12 * MIB)

        async with opened(tuned(s3_settings, copy_piece_bytes=5 * MIB)) as destination:
            await destination.deliver(export_file(), body(data))

        assert await door.read_raw("image.raw") == data
        assert (await door.etag("image.raw")).endswith("-3")

    async def test_a_copy_that_was_cut_off_is_ended(
        self, destination: S3Export, door: ExportBackdoor
    ) -> None:
        """The upload under the file's own name is found by the metadata of the first object."""
        dead = export_file("a/ü.raw")
        await door.call(
            "put_object",
            temporary_name(dead),
            Body=b"whole",
            Metadata={FILE_NAME_METADATA: "a/%C3%BC.raw"},
        )
        await door.write_unfinished("a/ü.raw", b"half")
        await door.write_unfinished("a/other.raw", b"of another program")

        await destination.remove(dead.task_id)

        assert await door.names() == {"a/other.raw"}

    async def test_an_attempt_after_a_copy(
        self, destination: S3Export, door: ExportBackdoor
    ) -> None:
        """Killed between the copy and the removal of the first object."""
        this = export_file()
        await destination.deliver(this, body(b"bytes"))
        await door.call(
            "put_object",
            temporary_name(this),
            Body=b"bytes",
            Metadata={FILE_NAME_METADATA: "image.raw"},
        )

        assert await destination.has_delivered(another_attempt(this))
        await destination.remove(this.task_id)

        assert await door.names() == {"image.raw"}

    async def test_an_attempt_that_takes_long_to_give_up(
        self, s3_settings: S3Settings, door: ExportBackdoor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It removes its file in the end, so the next attempt does not rely on that file."""
        copied, goes_on, discarded = asyncio.Event(), asyncio.Event(), asyncio.Event()
        copy, discard = S3Writer.copy, S3Writer.discard

        async def copy_and_hang(self: S3Writer, source: S3CopySource, *, once: bool = False) -> int:
            await copy(self, source, once=once)
            copied.set()
            return await asyncio.Future()

        async def discard_late(self: S3Writer) -> None:
            await goes_on.wait()
            await discard(self)
            discarded.set()

        monkeypatch.setattr(S3Writer, "copy", copy_and_hang)
        monkeypatch.setattr(S3Writer, "discard", discard_late)
        this = export_file("a/image.raw")
        async with opened(tuned(s3_settings, rollback_timeout=timedelta(0))) as destination:
            delivering = asyncio.create_task(destination.deliver(this, body(b"bytes")))
            await copied.wait()
            delivering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await delivering

            with pytest.raises(ExportError, match="may still take it away"):
                await destination.has_delivered(another_attempt(this))
            goes_on.set()
            async with asyncio.timeout(10):
                await discarded.wait()

        assert await door.read_raw("a/image.raw") is None

    async def test_a_bucket_that_is_missing(self, s3_settings: S3Settings) -> None:
        """The error names the export, and the remedy."""
        changed = replace(s3_settings, bucket="imaged-missing")
        async with opened(changed) as bucket:
            with pytest.raises(ExportError, match=r"'archive'.*create the bucket"):
                await bucket.check()
            with pytest.raises(ExportError):
                await bucket.deliver(export_file(), body(b"bytes"))
