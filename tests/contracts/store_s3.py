"""The contract of stores in buckets: that of every store, and features of buckets only.

Each tested S3 server inherits it, including the endpoint that ``make test-s3`` is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn
from urllib.parse import urlsplit

import aiohttp
import pytest

from contracts.store import StoreContract
from contracts.store_bodies import (
    PausedBody,
    Verdict,
    all_keys,
    body,
    new_key,
    read_all,
    some_bytes,
)
from contracts.store_bucket import BucketBackdoor, OnBucket, elsewhere_in, opened, tuned
from contracts.store_listing import KEYS
from imaged.core.block import Block
from imaged.core.errors import (
    BlobExists,
    BlobGone,
    BlobMissing,
    StoreError,
    StoreFull,
    WriteDiscarded,
)
from imaged.core.limits import GIB, MIB
from imaged.ports.store import Closeable, PresignedDownload, SelfTesting, ServerSideCopy
from imaged.stores.s3.part_memory import PartMemoryShare
from imaged.stores.s3.reader import FIRST_RANGE_BYTES
from imaged.stores.s3.settings import Checksum, S3Settings
from imaged.stores.s3.store import S3Store
from imaged.testing.memory_store import MemoryStore
from support.waiting import SHORT_PAUSES

PART = 5 * MIB
UNFINISHED_DATA = some_bytes(2 * PART + 1)  # two parts are in flight when the third begins


def with_few_large_parts(settings: S3Settings) -> S3Settings:
    """Blobs of a known size have parts that are larger than the memory for them."""
    return tuned(replace(settings, parts_in_flight=1), planned_parts=2)


class UploadIdRecorder:
    """Records a store's upload id, as the ledger does."""

    def __init__(self, door: BucketBackdoor, key: str) -> None:
        self.upload_ids: list[str] = []
        self.parts: list[int] = []
        self._door = door
        self._key = key

    async def __call__(self, upload_id: str) -> None:
        """The upload exists, and nothing of it was sent."""
        self.upload_ids.append(upload_id)
        assert await self._door.uploads() == {upload_id: self._key}
        self.parts += await self._door.parts(self._key, upload_id)


class S3StoreContract(OnBucket, StoreContract):
    """The contract, and features of buckets only. A suite provides the fixture ``s3_settings``."""

    async def test_it_has_every_ability(self, store: S3Store) -> None:
        """Those that are Protocols of their own; and it says how late a write may arrive."""
        assert isinstance(store, SelfTesting)
        assert isinstance(store, Closeable)
        assert isinstance(store, ServerSideCopy)
        assert isinstance(store, PresignedDownload)
        assert store.settles_after == timedelta(hours=1)

    async def test_a_rehearsal_leaves_nothing(self, store: S3Store, door: BucketBackdoor) -> None:
        """It tries everything, twice, and cleans up."""
        await store.self_test()
        await store.self_test()

        assert await door.objects() == []
        assert await door.uploads() == {}

    async def test_an_upload_is_recorded_before_its_first_part(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """The row of a dead writer says what to abort."""
        key = new_key()
        recorder = UploadIdRecorder(door, key)

        await store.put(key, body(UNFINISHED_DATA), record=recorder)

        assert len(recorder.upload_ids) == 1
        assert recorder.parts == []
        assert await door.read_raw(key) == UNFINISHED_DATA

    async def test_a_record_that_is_refused_ends_the_write(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """If the row is gone, nothing is sent."""
        key = new_key()

        async def refuse(_upload_id: str) -> NoReturn:
            raise BlobGone(key)

        with pytest.raises(BlobGone):
            await store.put(key, body(b"", ending=Verdict("the body was asked")), record=refuse)

        assert await door.uploads() == {}

    async def test_parts_are_stored_while_more_comes(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """Two parts are there before the end, and not visible as a blob."""
        key, paused = new_key(), PausedBody(UNFINISHED_DATA, b"last")
        async with asyncio.TaskGroup() as group:
            put = group.create_task(store.put(key, paused))
            await paused.halted()
            (upload_id,) = await door.uploads()
            await door.until_parts(key, upload_id, [PART, PART])

            assert await door.read_raw(key) is None

            paused.release()
        assert put.result() == len(UNFINISHED_DATA) + 4
        assert await door.read_raw(key) == UNFINISHED_DATA + b"last"
        assert (await door.etag(key)).endswith("-3")
        assert await door.uploads() == {}

    async def test_a_cancelled_write_ends_its_upload(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """Nothing is left, although delete was not called yet."""
        key, paused = new_key(), PausedBody(UNFINISHED_DATA)
        task = asyncio.create_task(store.put(key, paused))
        await paused.halted()

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await door.uploads() == {}

    async def test_a_write_notices_that_its_upload_was_ended(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """It does not read its body to the end, which may never come, nor wait for a slow one."""
        begun, deleted = asyncio.Event(), asyncio.Event()

        async def slow_body() -> AsyncIterator[Block]:
            begun.set()
            await deleted.wait()
            yield Block([bytes(PART)])
            while True:
                yield Block([b"drop"])
                await asyncio.sleep(0.001)

        key = new_key()
        task = asyncio.create_task(store.put(key, slow_body()))
        await begun.wait()
        await store.delete(key)
        deleted.set()

        with pytest.raises(WriteDiscarded):
            await asyncio.wait_for(task, 10)
        assert await door.objects() == []

    @pytest.mark.parametrize("size_bytes", [0, 3, PART])
    async def test_a_small_blob_is_put_at_once(
        self, store: S3Store, door: BucketBackdoor, size_bytes: int
    ) -> None:
        """If it is announced to fit into one part, there is no upload."""
        key, data = new_key(), some_bytes(size_bytes)
        recorder = UploadIdRecorder(door, key)

        assert await store.put(key, body(data), size_bytes, recorder) == size_bytes

        assert recorder.upload_ids == []
        assert await door.read_raw(key) == data
        assert "-" not in await door.etag(key)

    async def test_a_small_blob_that_grows(self, store: S3Store, door: BucketBackdoor) -> None:
        """An announcement that was too small is corrected on the way."""
        key = new_key()
        recorder = UploadIdRecorder(door, key)

        await store.put(key, body(UNFINISHED_DATA), 5, recorder)

        assert len(recorder.upload_ids) == 1
        assert await door.read_raw(key) == UNFINISHED_DATA

    async def test_a_small_blob_is_visible_at_the_end_only(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """Nothing of it is in the store before, so a verdict leaves nothing."""
        key, paused = new_key(), PausedBody(b"all of it")
        task = asyncio.create_task(store.put(key, paused, 9))
        await paused.halted()
        assert await all_keys(store) == []

        paused.release()

        assert await task == 9
        with pytest.raises(Verdict):
            await store.put(new_key(), body(b"refused", ending=Verdict("no")), 7)
        assert await door.objects() == [key]

    async def test_a_small_blob_is_not_replaced(self, store: S3Store, door: BucketBackdoor) -> None:
        """Of two writers of one key, one is refused at its end."""
        key, paused = new_key(), PausedBody(b"second")
        task = asyncio.create_task(store.put(key, paused, 6))
        await paused.halted()
        await door.plant(key, b"first")
        paused.release()

        with pytest.raises(BlobExists):
            await task

        assert await door.read_raw(key) == b"first"

    async def test_parts_grow_with_the_blob(
        self, s3_settings: S3Settings, door: BucketBackdoor
    ) -> None:
        """A part is at least a given fraction of what was sent before it."""
        key, data = new_key(), some_bytes(40 * MIB)

        async with opened(tuned(s3_settings, growth_divisor=2)) as store:
            await store.put(key, body(data))

        assert await door.read_raw(key) == data
        assert (await door.etag(key)).endswith("-6")  # 5, 5, 5, 8, 12 and 5 MiB

    @pytest.mark.parametrize("size_bytes", [24 * MIB, 26 * MIB + 1])
    async def test_parts_larger_than_their_memory_are_streamed(
        self,
        s3_settings: S3Settings,
        door: BucketBackdoor,
        size_bytes: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """With the same bytes in the end, and none of them held."""
        held, take = [0], PartMemoryShare.acquire

        async def watched(share: PartMemoryShare, taken_bytes: int) -> None:
            await take(share, taken_bytes)
            held.append(share.held_bytes)

        monkeypatch.setattr(PartMemoryShare, "acquire", watched)
        key, data = new_key(), some_bytes(size_bytes)
        async with opened(with_few_large_parts(s3_settings)) as store:
            assert await store.put(key, body(data), size_bytes) == size_bytes

        assert await door.read_raw(key) == data
        assert (await door.etag(key)).endswith("-2")
        assert max(held) == 0

    async def test_a_streamed_part_that_gets_too_few_bytes(
        self, s3_settings: S3Settings, door: BucketBackdoor
    ) -> None:
        """An announcement that was too large ends in an error, and leaves nothing."""
        async with opened(with_few_large_parts(s3_settings)) as store:
            with pytest.raises(StoreError, match="fewer bytes"):
                await store.put(new_key(), body(some_bytes(7 * MIB)), 24 * MIB)

        assert await door.uploads() == {}

    @pytest.mark.parametrize("is_streamed", [True, False])
    async def test_a_refused_write_ends_its_upload(
        self, s3_settings: S3Settings, door: BucketBackdoor, is_streamed: bool
    ) -> None:
        """The verdict propagates, and the request in flight leaves nothing."""
        refused = body(UNFINISHED_DATA, ending=Verdict("no"))
        async with opened(with_few_large_parts(s3_settings)) as store:
            with pytest.raises(Verdict):
                await store.put(new_key(), refused, 24 * MIB if is_streamed else None)

        assert await door.uploads() == {}

    async def test_more_comes_than_was_announced_to_streamed_parts(
        self, s3_settings: S3Settings, door: BucketBackdoor
    ) -> None:
        """Bytes behind the announced end are held."""
        key, data = new_key(), some_bytes(30 * MIB)
        async with opened(with_few_large_parts(s3_settings)) as store:
            assert await store.put(key, body(data), 24 * MIB) == len(data)

        assert await door.read_raw(key) == data

    async def test_a_body_beyond_the_limit_of_s3(self, store: S3Store) -> None:
        """More than S3 can store is refused before the body."""
        never = body(b"", ending=Verdict("the body was asked"))

        with pytest.raises(StoreFull, match="5 TiB"):
            await store.put(new_key(), never, 6 * 1024 * GIB)

    async def test_too_many_parts(self, s3_settings: S3Settings, door: BucketBackdoor) -> None:
        """A body that turns out too long ends in the same error, and leaves nothing."""
        async with opened(tuned(s3_settings, max_parts=2)) as store:
            with pytest.raises(StoreFull, match="2 parts"):
                await store.put(new_key(), body(UNFINISHED_DATA))

        assert await door.uploads() == {}

    @pytest.mark.parametrize("kind", ["crc32c", "crc32", "md5", "none"])
    async def test_every_checksum(self, s3_settings: S3Settings, kind: Checksum) -> None:
        """With every kind of checksum, the same bytes arrive."""
        changed = replace(s3_settings, checksum=kind)
        key, small = new_key(), new_key()
        async with opened(changed) as store:
            await store.self_test()
            await store.put(key, body(UNFINISHED_DATA))
            await store.put(small, body(b"small"), 5)

            assert await read_all(store, key) == UNFINISHED_DATA
            assert await read_all(store, small) == b"small"

    @pytest.mark.parametrize("call", ["put_object", "upload_part"])
    async def test_damaged_bytes_are_refused(
        self,
        s3_settings: S3Settings,
        door: BucketBackdoor,
        call: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The store compares the received bytes with the checksum."""
        monkeypatch.setattr("imaged.stores.s3.parts.Part._crc", lambda _, __: bytes(4))
        monkeypatch.setattr("imaged.stores.s3.parts.Part._md5", lambda _: bytes(16))
        quick = tuned(s3_settings, pauses=SHORT_PAUSES)

        async with opened(quick) as store:
            with pytest.raises(StoreError, match="damaged"):
                await store.put(new_key(), body(b"bytes"), 5 if call == "put_object" else None)

        assert await door.objects() == []
        assert await door.uploads() == {}

    async def test_a_delete_ends_every_upload_of_the_key(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """Also unrecorded ones; those of other keys stay."""
        key, other = new_key(), new_key()
        for unfinished in (key, key, key, other):
            await door.write_unfinished(unfinished, b"half")
        recorded, *_ = [found for found, of in (await door.uploads()).items() if of == key]

        await store.delete(key, recorded)

        assert list((await door.uploads()).values()) == [other]

    async def test_a_delete_after_the_upload_was_completed(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """The row still has the id of an upload that was completed."""
        key = new_key()
        recorder = UploadIdRecorder(door, key)
        await store.put(key, body(b"bytes"), record=recorder)

        await store.delete(key, recorder.upload_ids[0])
        await store.delete(key, "never-heard-of")

        assert await door.objects() == []

    async def test_long_lists_come_in_pages(
        self, s3_settings: S3Settings, door: BucketBackdoor
    ) -> None:
        """Every key is listed once, however many pages that takes."""
        for key in KEYS:
            await door.plant(key, b"whole")
            await door.write_unfinished(key, b"half")
        await door.write_unfinished(other := new_key(), b"half")

        async with opened(tuned(s3_settings, list_page_size=2)) as store:
            assert await all_keys(store) == sorted({*KEYS, other})

    async def test_folders_of_a_bucket_do_not_meet(
        self, store: S3Store, s3_settings: S3Settings
    ) -> None:
        """Two stores in one bucket have different prefixes, and each its own blobs."""
        key = new_key()
        await store.put(key, body(b"here"))

        async with opened(replace(s3_settings, prefix=f"{s3_settings.prefix}/x")) as other:
            assert await all_keys(other) == []
            await other.delete(key)
            with pytest.raises(BlobMissing):
                await read_all(other, key)
        assert await all_keys(store) == [key]

    async def test_a_store_without_a_prefix(self, s3_settings: S3Settings) -> None:
        """Its keys are the names of its objects, and other folders are foreign."""
        changed = replace(s3_settings, prefix="")
        key = new_key()
        async with opened(changed) as store:
            await store.put(key, body(b"bytes"))

            assert await BucketBackdoor(changed).read_raw(key) == b"bytes"
            assert await all_keys(store) == [key]
            await store.delete(key)

    async def test_a_blob_that_is_changed_under_a_reader(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """The next request for it raises an error; a read never returns a mixture."""
        size_bytes = FIRST_RANGE_BYTES + MIB
        key, data, other = new_key(), some_bytes(size_bytes), some_bytes(size_bytes + 1)[1:]
        await door.plant(key, data)

        async with store.open(key) as reader:
            got = await reader.read(MIB)
            await door.plant(key, other)
            with pytest.raises(StoreError, match="another object"):
                await reader.read(size_bytes)

        assert got == data[:MIB]

    async def test_a_store_can_be_closed_and_used_again(self, store: S3Store) -> None:
        """A closed store only closes its connections."""
        key = new_key()
        await store.put(key, body(b"bytes"))

        await store.close()

        assert await read_all(store, key) == b"bytes"

    @pytest.mark.parametrize("size_bytes", [0, 7, 3 * MIB, 12 * MIB + 1])
    async def test_a_blob_is_copied_by_the_server(
        self,
        s3_settings: S3Settings,
        door: BucketBackdoor,
        size_bytes: int,
    ) -> None:
        """In one call or in pieces, unchanged; the copy is like any other blob."""
        source, key, data = new_key(), new_key(), some_bytes(size_bytes)
        await door.plant(source, data)
        recorder = UploadIdRecorder(door, key)

        async with opened(tuned(s3_settings, copy_piece_bytes=PART)) as store:
            assert await store.copy_from(store, source, key, recorder) == size_bytes

            assert await door.read_raw(key) == data
            assert len(recorder.upload_ids) == (size_bytes > PART)
            with pytest.raises(BlobExists):
                await store.copy_from(store, source, key)
            await store.delete(source)
            assert await read_all(store, key) == data

    async def test_a_blob_is_copied_between_stores(
        self, store: S3Store, door: BucketBackdoor, s3_settings: S3Settings
    ) -> None:
        """Those of one endpoint, also under the same key; otherwise the bytes have to be sent."""
        key = new_key()
        await door.plant(key, b"bytes")

        async with opened(elsewhere_in(s3_settings), "other") as other:
            assert other.can_copy_from(store)
            await other.copy_from(store, key, key)
            assert await read_all(other, key) == b"bytes"

        elsewhere = MemoryStore("elsewhere")
        assert not store.can_copy_from(elsewhere)
        with pytest.raises(StoreError, match="'elsewhere'"):
            await store.copy_from(elsewhere, key, new_key())

    async def test_a_blob_that_is_not_there_is_not_copied(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """The error names the source, and nothing is left."""
        source, key = new_key(), new_key()

        with pytest.raises(BlobMissing, match=source):
            await store.copy_from(store, source, key)

        assert await door.objects() == []

    async def test_a_presigned_link_needs_no_credentials(
        self, store: S3Store, door: BucketBackdoor
    ) -> None:
        """All of it or a range, for a while, to be saved as a file."""
        key = new_key()
        await door.plant(key, b"some bytes")
        link = await store.presign(key, timedelta(minutes=1), 'disk "ä".img')

        async with aiohttp.ClientSession() as session:
            async with session.get(link) as answer:
                whole = await answer.read()
            async with session.get(link, headers={"Range": "bytes=5-"}) as answer_to_range:
                rest = await answer_to_range.read()

        assert (answer.status, whole) == (200, b"some bytes")
        assert (answer_to_range.status, rest) == (206, b"bytes")
        assert answer.content_type == "application/octet-stream"
        disposition = answer.headers["Content-Disposition"]
        assert disposition == "attachment; filename*=UTF-8''disk%20%22%C3%A4%22.img"

    async def test_a_link_is_for_one_blob(self, store: S3Store, door: BucketBackdoor) -> None:
        """Nothing else can be read with it, and nothing written."""
        key, other = new_key(), new_key()
        await door.plant(key, b"bytes")
        await door.plant(other, b"others")
        link = await store.presign(key, timedelta(minutes=1))

        async with aiohttp.ClientSession() as session:
            async with session.get(link.replace(key, other)) as answer:
                assert answer.status == 403
            async with session.put(link, data=b"changed") as answer:
                assert answer.status == 403
        assert "Signature" in urlsplit(link).query

    @pytest.mark.parametrize("valid_for", [timedelta(0), timedelta(days=8), timedelta(days=-1)])
    async def test_links_do_not_last_for_ever(self, store: S3Store, valid_for: timedelta) -> None:
        """Nor are they valid for no time at all."""
        with pytest.raises(StoreError, match="7 days"):
            await store.presign(new_key(), valid_for)
