"""The S3 store behind a proxy that lets each call of an upload fail in turn.

Whatever fails, once or from then on: the write succeeds with the right bytes; or it raises a
StoreError, nothing is visible, and after its delete nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from uuid import UUID, uuid4

import anyio
import pytest
import pytest_asyncio

from contracts.store_bodies import all_keys, block_of, body, new_key, read_all, some_bytes
from contracts.store_bucket import BucketBackdoor, opened, settings_for
from imaged.core.block import Block
from imaged.core.errors import BlobMissing, MarkerRefused, StoreError, WriteDiscarded
from imaged.core.limits import MIB
from imaged.core.place_marker import (
    MARKER_NAME,
    MAX_MARKER_BYTES,
    Marker,
    PlaceKind,
    write_marker_text,
)
from imaged.stores.s3 import writer
from imaged.stores.s3.client import RetryState
from imaged.stores.s3.parts import StreamedPart
from imaged.stores.s3.settings import Checksum, S3Settings, S3Tuning
from imaged.stores.s3.store import S3Store
from support.fault_proxy import CARRIED_OUT, SERVING, Fault, FaultProxy, fail, fail_all, no_faults
from support.seaweedfs import SeaweedFS
from support.waiting import SHORT_PAUSES

pytestmark = pytest.mark.asyncio

ATTEMPTS = 2
DATA = some_bytes(6 * MIB)  # two parts
SMALL = some_bytes(3000)

CALLS = [
    ("head_object", 0),
    ("list_multipart_uploads", 0),
    ("create_multipart_upload", 0),
    ("upload_part", 0),
    ("upload_part", 1),
    ("complete_multipart_upload", 0),
]
FAULTS = [
    Fault.SLOW_DOWN,
    Fault.INTERNAL_ERROR,
    Fault.INTERNAL_ERROR_AFTER,
    Fault.RESET,
    Fault.RESET_AFTER,
    Fault.TRUNCATED,
    Fault.HANGING,
    Fault.HANGING_AFTER,
    Fault.LATE,
    Fault.DRAWN_OUT,
    Fault.ERROR_IN_200,
    Fault.ERROR_IN_200_AFTER,
    Fault.GARBAGE,
    Fault.DENIED,
]
QUICK = S3Tuning(pauses=SHORT_PAUSES, abort_pauses=SHORT_PAUSES)
with_small_pieces = pytest.mark.parametrize("tuning", [replace(QUICK, copy_piece_bytes=5 * MIB)])
with_few_parts = pytest.mark.parametrize("tuning", [replace(QUICK, planned_parts=2)])
with_short_pages = pytest.mark.parametrize("tuning", [replace(QUICK, list_page_size=1)])

#: Calls without an answer, each of which costs the patience of a client twice.
SILENT = [Fault.HANGING, Fault.HANGING_AFTER, Fault.LATE, Fault.DRAWN_OUT]
IN_200 = [Fault.ERROR_IN_200, Fault.ERROR_IN_200_AFTER, Fault.GARBAGE]


def case(place: int, fault: Fault, *values: object) -> object:
    """A case of a table, whose lines are calls: of what is silent, one kind for each call is met
    by `make test-all`, and the others by `make nightly`.
    """
    is_rare = fault in SILENT and SILENT.index(fault) != place % len(SILENT)
    return pytest.param(*values, marks=[pytest.mark.nightly] if is_rare else [])


CASES = [
    case(place, fault, call, number, fault)
    for place, (call, number) in enumerate(CALLS)
    for fault in FAULTS
    if call != "head_object" or "200" not in fault  # its answers have no body to carry an error
]
ONE_CALL = [case(0, fault, fault) for fault in FAULTS]
DELETE_CALLS = ["abort_multipart_upload", "list_parts", "list_multipart_uploads", "delete_object"]


@pytest.fixture
def tuning() -> S3Tuning:
    """Pauses so short that the tests need not wait for them."""
    return QUICK


@pytest.fixture
def s3_settings(proxy: FaultProxy, tuning: S3Tuning) -> S3Settings:
    """Little patience."""
    return settings_for(
        proxy.endpoint,
        tuning=tuning,
        attempts=ATTEMPTS,
        retry_for=timedelta(0),
        connect_timeout=timedelta(seconds=1),
        read_timeout=timedelta(seconds=0.8),
    )


@pytest_asyncio.fixture
async def store(s3_settings: S3Settings) -> AsyncIterator[S3Store]:
    """A store behind the proxy."""
    async with opened(s3_settings) as store:
        yield store


@pytest.fixture
def door(s3: SeaweedFS, s3_settings: S3Settings) -> BucketBackdoor:
    """A client that bypasses the proxy."""
    return BucketBackdoor(s3_settings, s3.endpoint)


class Attempt:
    """A write as the services do it: its upload is recorded, and it is deleted if it failed."""

    def __init__(self, store: S3Store, proxy: FaultProxy, door: BucketBackdoor) -> None:
        self.key = new_key()
        self.recorded: str | None = None
        self._store = store
        self._proxy = proxy
        self._door = door

    async def write(
        self, data: bytes, expected_bytes: int | None = None, *, is_observed: bool = True
    ) -> bool:
        """Write it; returns whether that succeeded. Nothing else is visible or left in the end.

        If no answer arrives any more, success cannot be detected, nor can the write be rolled back.
        """
        try:
            size_bytes = await self._store.put(self.key, body(data), expected_bytes, self.record)
        except StoreError:
            assert not is_observed or await self._door.read_raw(self.key) is None
            await self._delete()
            return False
        assert size_bytes == len(data)
        assert await self._door.uploads() == {}
        await self._proxy.release()
        assert await self._door.read_raw(self.key) == data
        await self._delete()
        return True

    async def record(self, upload_id: str) -> None:
        """As the ledger does."""
        self.recorded = upload_id

    async def _delete(self) -> None:
        """As the scrubber does; once more after what was late has arrived."""
        self._proxy.plan = no_faults
        await self._store.delete(self.key, self.recorded)
        await self._proxy.release()
        await self._store.delete(self.key, self.recorded)
        assert await self._door.objects() == []
        assert await self._door.uploads() == {}
        if self.recorded is not None:
            assert await self._door.parts(self.key, self.recorded) == []


@pytest.fixture
def attempt(store: S3Store, proxy: FaultProxy, door: BucketBackdoor) -> Attempt:
    """A write that has not begun."""
    return Attempt(store, proxy, door)


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize(("call", "number", "fault"), CASES)
async def test_a_call_of_an_upload_fails(
    attempt: Attempt, proxy: FaultProxy, call: str, number: int, fault: Fault, *, for_ever: bool
) -> None:
    """Retryable errors are retried, and the write succeeds. From then on it fails and leaves
    nothing; or it had succeeded, and that was detected.
    """
    proxy.plan = fail(call, number, fault, for_ever=for_ever)

    succeeded = await attempt.write(DATA)

    assert call in proxy.calls
    if for_ever:
        assert not succeeded or (call == "complete_multipart_upload" and fault in CARRIED_OUT)
    else:
        assert succeeded or fault is Fault.DENIED


@pytest.mark.parametrize("fault", [*ONE_CALL, Fault.PAGE, Fault.OTHER_TAG, Fault.STALLED])
@pytest.mark.parametrize("number", [0, 1])
@with_few_parts
async def test_a_streamed_part_fails(
    s3_settings: S3Settings, proxy: FaultProxy, door: BucketBackdoor, fault: Fault, number: int
) -> None:
    """Its bytes are gone, so it is not sent again: the write fails, and leaves nothing."""
    proxy.plan = fail("upload_part", number, fault)
    data = some_bytes(14 * MIB)

    async with opened(replace(s3_settings, parts_in_flight=1)) as store:
        assert not await Attempt(store, proxy, door).write(data, len(data))

    assert proxy.calls.count("upload_part") <= 2


@with_few_parts
async def test_a_streamed_part_that_was_damaged(
    s3_settings: S3Settings, door: BucketBackdoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its MD5 is compared with the server's, since no checksum was sent."""
    monkeypatch.setattr(StreamedPart, "md5", "0" * 32)
    data = some_bytes(14 * MIB)

    async with opened(replace(s3_settings, parts_in_flight=1)) as store:
        with pytest.raises(StoreError, match="damaged"):
            await store.put(new_key(), body(data), len(data))

    assert await door.objects() == []


@pytest.mark.parametrize(
    "fault",
    [Fault.PAGE, Fault.NOTHING, Fault.EMPTY_TAG, Fault.OTHER_TAG, Fault.NOTHING_AFTER],
)
@pytest.mark.parametrize("call", ["put_object", "complete_multipart_upload"])
async def test_an_answer_without_a_result_is_no_success(
    attempt: Attempt, proxy: FaultProxy, call: str, fault: Fault
) -> None:
    """A proxy or a portal that answers 200 without forwarding has stored nothing. Ceph RGW answers
    completions with an empty ETag at first: attempt id and size prove them.
    """
    is_small = call == "put_object"
    data = SMALL if is_small else DATA
    proxy.plan = fail(call, 0, fault)

    succeeded = await attempt.write(data, len(data) if is_small else None)

    assert succeeded == (fault is Fault.NOTHING_AFTER)
    assert proxy.calls.count(call) == 1 if succeeded else call in proxy.calls


async def test_a_part_that_nothing_has_stored_ends_the_write(
    store: S3Store, proxy: FaultProxy
) -> None:
    """Not every server refuses to complete an upload with a part that it does not have."""
    proxy.plan = fail("upload_part", 0, Fault.PAGE)

    with pytest.raises(StoreError, match="an answer without ETag: check that its endpoint"):
        await store.put(new_key(), body(DATA))

    assert "complete_multipart_upload" not in proxy.calls


@pytest.mark.parametrize(
    ("write_id", "size_bytes"), [(UUID(int=2), len(SMALL)), (UUID(int=1), len(SMALL) - 1)]
)
async def test_only_our_own_object_of_our_size_is_a_success(
    store: S3Store,
    proxy: FaultProxy,
    door: BucketBackdoor,
    monkeypatch: pytest.MonkeyPatch,
    *,
    write_id: UUID,
    size_bytes: int,
) -> None:
    """Where an answer proves nothing, an object that is there may be another attempt's, or cut."""
    monkeypatch.setattr(writer, "uuid4", lambda: UUID(int=1))
    proxy.plan = fail("put_object", 0, Fault.NOTHING)
    key, mark = new_key(), {writer.WRITE_ID_METADATA: write_id.hex}

    async def overtaken() -> AsyncIterator[Block]:
        await door.call("put_object", key, Body=SMALL[:size_bytes], Metadata=mark)
        yield block_of(SMALL)

    with pytest.raises(StoreError, match="does not have it"):
        await store.put(key, overtaken(), len(SMALL))


@pytest.mark.parametrize("fault", [Fault.PAGE, Fault.NOTHING])
async def test_no_list_is_not_an_empty_one(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, fault: Fault
) -> None:
    """Otherwise every image would be reported missing."""
    await door.plant(new_key(), b"whole")
    for call in ("list_objects_v2", "list_multipart_uploads"):
        proxy.plan = fail(call, 0, fault, for_ever=True)

        with pytest.raises(StoreError, match="IsTruncated"):
            await all_keys(store)


@pytest.mark.parametrize(
    ("call", "number"),
    [("list_objects_v2", 0), ("list_multipart_uploads", 0), ("list_multipart_uploads", 1)],
)
@with_short_pages
async def test_a_list_that_does_not_advance_is_an_error(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, call: str, number: int
) -> None:
    """Instead of an endless loop; also where it would begin anew: on a page without the marker of
    the next one, after a page that had one.
    """
    for _ in range(3):
        await door.write_unfinished(new_key(), b"half")
    proxy.plan = fail(call, number, Fault.SAME_PAGE, for_ever=True)

    with anyio.fail_after(15), pytest.raises(StoreError, match="do not advance"):
        await all_keys(store)

    assert proxy.calls.count(call) <= 2


@pytest.mark.parametrize("fault", [Fault.RESET_AFTER, Fault.TRUNCATED, Fault.DRAWN_OUT])
async def test_a_part_that_is_sent_again_has_the_same_bytes(
    attempt: Attempt, proxy: FaultProxy, fault: Fault
) -> None:
    """Servers differ in which of them they keep; and no part follows the completion."""
    proxy.plan = fail("upload_part", 0, fault)

    assert await attempt.write(DATA)

    assert proxy.calls.count("upload_part") == 3
    assert [len(digests) for digests in proxy.parts.values()] == [1, 1]
    behind = proxy.calls[proxy.calls.index("complete_multipart_upload") :]
    assert "upload_part" not in behind


@pytest.mark.parametrize("call", ["upload_part", "complete_multipart_upload"])
async def test_an_upload_that_is_gone_is_not_tried_for_ever(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, call: str
) -> None:
    """It is checked before a retry: moto answers 500 to its parts, Ceph RGW to its completion."""
    gone = {call: Fault.INTERNAL_ERROR, "list_parts": Fault.NO_UPLOADS}
    proxy.plan = lambda this, _number: gone.get(this)

    with pytest.raises(WriteDiscarded):
        await store.put(new_key(), body(SMALL))

    assert proxy.calls.count(call) == 1
    assert await door.objects() == []


class Outage:
    """A gateway that is unavailable until a client has paused more often than ``attempts``."""

    def __init__(self, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pauses = 0
        self.proxy = proxy
        self._pause = RetryState.pause
        monkeypatch.setattr(RetryState, "pause", self._counted(3 * ATTEMPTS))

    def begin_with(self, call: str, number: int) -> None:
        """The gateway becomes unavailable with this call."""

        def plan(this: str, before: int) -> Fault | None:
            if (this, before) == (call, number):
                self._leaving = asyncio.create_task(self.proxy.leave(), name=SERVING)
                return Fault.HANGING
            return None

        self.proxy.plan = plan

    def _counted(self, until: int) -> Callable[[RetryState], Awaitable[None]]:
        async def pause(count: RetryState) -> None:
            self.pauses += 1
            if self.pauses == until:
                self.proxy.plan = no_faults
                await self.proxy.come_back()
            await self._pause(count)

        return pause


@pytest.fixture
def outage(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Outage:
    """One that has not begun."""
    return Outage(proxy, monkeypatch)


@pytest.fixture
def patient(s3_settings: S3Settings) -> S3Settings:
    """Settings that outlast an outage."""
    return replace(s3_settings, retry_for=timedelta(seconds=30))


@pytest.mark.parametrize(("call", "number"), CALLS)
async def test_a_gateway_that_restarts_ends_no_upload(
    patient: S3Settings, door: BucketBackdoor, outage: Outage, call: str, number: int
) -> None:
    """Refused connections are retried for a time, not a number of times."""
    outage.begin_with(call, number)
    async with opened(patient) as store:
        assert await Attempt(store, outage.proxy, door).write(DATA)

    assert outage.pauses >= 3 * ATTEMPTS


async def test_a_gateway_that_restarts_ends_no_download(
    patient: S3Settings, door: BucketBackdoor, outage: Outage
) -> None:
    """It continues from the next byte."""
    key, data = new_key(), some_bytes(4 * MIB)
    await door.plant(key, data)
    outage.begin_with("get_object", 0)
    async with opened(patient) as store:
        assert await read_all(store, key) == data

    assert outage.pauses >= 3 * ATTEMPTS


async def test_a_server_that_is_overloaded_for_a_while(
    patient: S3Settings, proxy: FaultProxy, door: BucketBackdoor
) -> None:
    """503 more often than ``attempts``."""
    proxy.plan = lambda call, number: (
        Fault.SLOW_DOWN if call == "upload_part" and number < 3 * ATTEMPTS else None
    )
    async with opened(patient) as store:
        assert await Attempt(store, proxy, door).write(DATA)


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("fault", ONE_CALL)
async def test_a_put_of_a_small_blob_fails(
    attempt: Attempt, proxy: FaultProxy, fault: Fault, for_ever: bool
) -> None:
    """The same for a blob that is put at once."""
    proxy.plan = fail("put_object", 0, fault, for_ever=for_ever)

    succeeded = await attempt.write(SMALL, len(SMALL))

    assert succeeded or for_ever or fault is Fault.DENIED
    assert "create_multipart_upload" not in proxy.calls


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET_AFTER, Fault.DENIED])
@pytest.mark.parametrize("number", range(8))
async def test_everything_fails_from_then_on(
    attempt: Attempt, proxy: FaultProxy, number: int, fault: Fault
) -> None:
    """The write fails and cannot clean up; its delete can, once the store is available again."""
    proxy.plan = fail_all(number, fault)

    await attempt.write(DATA, is_observed=False)


@pytest.mark.parametrize("fault", [*ONE_CALL, Fault.NOTHING, Fault.PAGE])
@pytest.mark.parametrize("size_bytes", [3000, 6 * MIB])
@with_small_pieces
async def test_a_copy_fails_once(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, size_bytes: int, fault: Fault
) -> None:
    """As for an upload, in one call and in pieces; and an answer without a result is no success."""
    source, key, data = new_key(), new_key(), some_bytes(size_bytes)
    await door.plant(source, data)
    call = "upload_part_copy" if size_bytes > MIB else "copy_object"
    proxy.plan = fail(call, 0, fault)

    if fault in {Fault.DENIED, Fault.NOTHING, Fault.PAGE}:
        with pytest.raises(StoreError, match="s3:PutObject" if fault is Fault.DENIED else None):
            await store.copy_from(store, source, key)
        assert "complete_multipart_upload" not in proxy.calls
        assert await door.objects() == [source]
    else:
        await store.copy_from(store, source, key)
        assert await door.read_raw(key) == data
    assert call in proxy.calls


@pytest.mark.parametrize(
    ("size_bytes", "call"), [(3000, "copy_object"), (6 * MIB, "complete_multipart_upload")]
)
@with_small_pieces
async def test_a_copy_whose_answer_is_lost(
    store: S3Store, proxy: FaultProxy, size_bytes: int, call: str
) -> None:
    """It is recognised by its attempt id, although its other metadata is the source's."""
    source, key, data = new_key(), new_key(), some_bytes(size_bytes)
    await store.put(source, body(data), len(data))
    proxy.plan = fail(call, proxy.calls.count(call), Fault.RESET_AFTER, for_ever=True)

    assert await store.copy_from(store, source, key) == size_bytes

    assert await read_all(store, key) == data


async def test_calls_with_a_body(store: S3Store, proxy: FaultProxy) -> None:
    """A checksum, who calls, no signature of the bytes, and no ``Expect: 100-continue``."""
    await store.put(new_key(), body(SMALL))
    await store.put(new_key(), body(SMALL), len(SMALL))

    for call in ("upload_part", "put_object"):
        assert "\r\nx-amz-content-sha256: unsigned-payload\r\n" in proxy.heads[call]
        assert "\r\nx-amz-checksum-crc32c: " in proxy.heads[call]
        assert f"\r\nuser-agent: imaged/{version('imaged')} " in proxy.heads[call]
        assert "\r\nexpect:" not in proxy.heads[call]
        assert f"\r\ncontent-length: {len(SMALL)}\r\n" in proxy.heads[call]
    for call in ("complete_multipart_upload", "put_object"):
        assert "\r\nif-none-match: *\r\n" in proxy.heads[call]


@pytest.mark.parametrize("kind", ["none", "md5"])
async def test_no_checksum_follows_a_body(
    s3_settings: S3Settings, proxy: FaultProxy, kind: Checksum
) -> None:
    """The library would add one in a trailer, to which Ceph RGW answers 411 over TLS."""
    async with opened(replace(s3_settings, checksum=kind)) as store:
        await store.put(new_key(), body(SMALL))
        await store.put(new_key(), body(SMALL), len(SMALL))

    for call in ("upload_part", "put_object"):
        assert "\r\nx-amz-trailer:" not in proxy.heads[call]
        assert f"\r\ncontent-length: {len(SMALL)}\r\n" in proxy.heads[call]


async def test_a_put_that_lands_after_the_delete(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor
) -> None:
    """That is why the ledger checks again after ``settles_after``."""
    key = new_key()
    proxy.plan = fail("put_object", 0, Fault.LATE, for_ever=True)
    with pytest.raises(StoreError):
        await store.put(key, body(SMALL), len(SMALL))
    await store.delete(key)

    await proxy.release()
    assert await door.objects() == [key]

    assert store.settles_after > timedelta(0)
    await store.delete(key)
    assert await door.objects() == []


async def test_a_store_that_knows_no_conditions(store: S3Store, proxy: FaultProxy) -> None:
    """It is called once with a condition, and from then on without."""
    proxy.plan = lambda _call, _number: Fault.NO_CONDITIONS
    keys = [new_key() for _ in range(3)]

    for key in keys:
        await store.put(key, body(SMALL), len(SMALL))
    await store.put(last := new_key(), body(SMALL))

    assert [await read_all(store, key) for key in [*keys, last]] == [SMALL] * 4
    assert proxy.calls.count("put_object") == len(keys) + 1
    assert proxy.calls.count("complete_multipart_upload") == 1


async def test_a_store_that_is_overloaded_is_not_asked_for_ever(
    store: S3Store, proxy: FaultProxy
) -> None:
    """As many attempts as configured, in one layer."""
    proxy.plan = fail("head_object", 0, Fault.SLOW_DOWN, for_ever=True)

    with pytest.raises(StoreError, match="answered 503"):
        await store.put(new_key(), body(SMALL))

    assert proxy.calls == ["head_object"] * 2


@pytest.mark.parametrize("expected_bytes", [None, len(DATA)])
async def test_a_store_that_takes_no_bytes(
    attempt: Attempt, proxy: FaultProxy, expected_bytes: int | None
) -> None:
    """A stalled request is cancelled, and sent again."""
    proxy.plan = fail("upload_part", 0, Fault.STALLED)

    assert await attempt.write(DATA, expected_bytes)


@pytest.mark.parametrize("call", [*dict(CALLS), "put_object"])
async def test_a_write_that_is_cancelled_in_a_call(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, call: str
) -> None:
    """The effect of the call is rolled back before the write returns."""
    key, is_small = new_key(), call == "put_object"
    data = SMALL if is_small else DATA
    task = asyncio.create_task(store.put(key, body(data), len(data) if is_small else None))

    def cancel(this: str, _number: int) -> Fault | None:
        if this != call:
            return None
        task.cancel()
        return Fault.SLOW

    proxy.plan = cancel
    with pytest.raises(asyncio.CancelledError):
        await task

    assert call in proxy.calls
    await proxy.settle()
    assert await door.objects() == []
    assert await door.uploads() == {}


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        case(place, fault, call, fault)
        for place, call in enumerate(DELETE_CALLS)
        for fault in FAULTS
    ],
)
async def test_a_delete_fails(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, call: str, fault: Fault
) -> None:
    """It raises, unless a retry helps, and the next delete completes it."""
    key = new_key()
    await door.plant(key, b"whole")
    await door.write_unfinished(key, b"half")
    proxy.plan = fail(call, 0, fault, for_ever=True)

    with pytest.raises(StoreError):
        await store.delete(key)
    proxy.plan = no_faults
    await proxy.release()
    await store.delete(key)

    assert await door.objects() == []
    assert await door.uploads() == {}


@pytest.mark.parametrize("call", ["abort_multipart_upload", "delete_object"])
async def test_what_is_gone_is_deleted(store: S3Store, proxy: FaultProxy, call: str) -> None:
    """S3 answers 204 to the delete of a missing object, and NoSuchUpload to the abort of a missing
    upload; some servers answer NoSuchKey to both.
    """
    proxy.plan = fail(call, 0, Fault.NO_KEY, for_ever=True)

    await store.delete(new_key(), "recorded")

    assert call in proxy.calls


async def test_a_store_that_does_not_list_uploads(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor
) -> None:
    """Some do not, or not at once: a recorded upload is aborted all the same."""
    key = new_key()
    await door.write_unfinished(key, b"half")
    (recorded,) = await door.uploads()
    proxy.plan = fail("list_multipart_uploads", 0, Fault.EMPTY_LIST, for_ever=True)

    await store.delete(key, recorded)

    assert await door.uploads() == {}


async def test_an_upload_that_does_not_end(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor
) -> None:
    """An abort is repeated as long as parts are listed, then reported."""
    key = new_key()
    await door.write_unfinished(key, b"half")
    (recorded,) = await door.uploads()

    def plan(call: str, number: int) -> Fault | None:
        if call == "list_multipart_uploads":
            return Fault.EMPTY_LIST
        pretends = call == "abort_multipart_upload" and number < 6
        return Fault.PRETENDED if pretends else None

    proxy.plan = plan
    with pytest.raises(StoreError, match="after 5 aborts"):
        await store.delete(key, recorded)
    assert proxy.calls.count("abort_multipart_upload") == 5

    await store.delete(key, recorded)
    assert proxy.calls.count("abort_multipart_upload") == 5 + 2
    assert await door.uploads() == {}


async def test_an_upload_that_stays_listed(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor
) -> None:
    """It is aborted a few times, although it counts as gone each time, and then reported."""
    key = new_key()
    await door.write_unfinished(key, b"half")
    answers = {"abort_multipart_upload": Fault.PRETENDED, "list_parts": Fault.NO_UPLOADS}
    proxy.plan = lambda call, _number: answers.get(call)

    with pytest.raises(StoreError, match="after 5 rounds of aborts"):
        await store.delete(key)


@pytest.mark.parametrize("fault", [Fault.PAGE, Fault.NOTHING])
async def test_no_list_of_parts_is_not_an_empty_one(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, fault: Fault
) -> None:
    """Otherwise a running upload would count as ended."""
    key = new_key()
    await door.write_unfinished(key, b"half")
    (recorded,) = await door.uploads()
    answers = {
        "list_multipart_uploads": Fault.EMPTY_LIST,
        "abort_multipart_upload": Fault.PRETENDED,
        "list_parts": fault,
    }
    proxy.plan = lambda call, _number: answers.get(call)

    with pytest.raises(StoreError, match="IsTruncated"):
        await store.delete(key, recorded)

    assert [*await door.uploads()] == [recorded]


@pytest.mark.parametrize("hides_length", [False, True])
@pytest.mark.parametrize("cut_bytes", [1, 100_000, MIB, 3 * MIB])
async def test_a_download_that_breaks_is_continued(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, cut_bytes: int, hides_length: bool
) -> None:
    """However often, from the next byte to the last one."""
    key, data = new_key(), some_bytes(4 * MIB if cut_bytes > 1 else 20)
    await door.plant(key, data)
    proxy.answered_bytes, proxy.hides_length = cut_bytes, hides_length

    assert await read_all(store, key, 3) == data[3:]
    assert proxy.calls.count("get_object") >= (len(data) - 3) // cut_bytes


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("fault", [*ONE_CALL, Fault.NO_RANGES])
async def test_a_download_fails(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, fault: Fault, *, for_ever: bool
) -> None:
    """All bytes arrive, or an error, after as many attempts as configured; never fewer bytes, and
    never others.
    """
    key, data = new_key(), some_bytes(2 * MIB)
    await door.plant(key, data)
    proxy.plan = fail("get_object", 0, fault, for_ever=for_ever)

    try:
        got = await read_all(store, key, 1)
    except StoreError:
        assert for_ever or fault in {Fault.DENIED, Fault.NO_RANGES, *IN_200}
    else:
        assert (got, for_ever) == (data[1:], False)
    assert proxy.calls.count("get_object") <= 2 * 2  # the library asks again over a new connection


async def test_a_page_is_no_blob(store: S3Store, proxy: FaultProxy, door: BucketBackdoor) -> None:
    """200 with a page that is longer than the blob: its first bytes are not those of the blob."""
    key = new_key()
    await door.plant(key, b"blob")
    proxy.plan = fail("get_object", 0, Fault.PAGE, for_ever=True)
    with pytest.raises(StoreError):
        await read_all(store, key)


async def test_a_blob_that_goes_while_a_download_breaks(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor
) -> None:
    """It is reported missing, instead of a truncated download."""
    key, data = new_key(), some_bytes(4 * MIB)
    await door.plant(key, data)
    proxy.answered_bytes = MIB

    async with store.open(key) as reader:
        assert await reader.read(100) == data[:100]
        await store.delete(key)
        with pytest.raises(BlobMissing):
            await reader.read(4 * MIB)


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.SLOW_DOWN, Fault.GARBAGE, Fault.HANGING])
@pytest.mark.parametrize("call", ["list_objects_v2", "list_multipart_uploads"])
@with_short_pages
async def test_a_list_fails(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor, call: str, fault: Fault
) -> None:
    """Also on its second page: unlisted names are not taken for absent ones."""
    for _ in range(2):
        await door.plant(new_key(), b"whole")
        await door.write_unfinished(new_key(), b"half")
    proxy.plan = fail(call, 1, fault, for_ever=True)

    with pytest.raises(StoreError):
        await all_keys(store)


MARKER = Marker(uuid4(), uuid4(), PlaceKind.STORE, "local", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.RESET, Fault.SLOW_DOWN])
async def test_a_marker_is_asked_for_again(store: S3Store, proxy: FaultProxy, fault: Fault) -> None:
    """A lost connection makes no write fail."""
    await store.place.write_marker(MARKER)
    store.place.expect(MARKER)
    proxy.calls.clear()
    proxy.plan = fail("get_object", 0, fault)

    await store.put(new_key(), body(SMALL))

    assert proxy.calls.count("get_object") > 1


@pytest.mark.parametrize("call", ["head_object", "head_bucket", "get_object"])
async def test_a_bucket_that_is_away_is_told_soon(
    s3_settings: S3Settings, proxy: FaultProxy, call: str
) -> None:
    """At start and in a check: reading a marker takes as many attempts as a call, however long a
    write would retry.
    """
    patient = replace(s3_settings, retry_for=timedelta(hours=1))

    async with opened(patient) as store:
        if call == "get_object":
            await store.place.write_marker(MARKER)
        proxy.calls.clear()
        proxy.plan = fail(call, 0, Fault.SLOW_DOWN, for_ever=True)
        with pytest.raises(StoreError):
            await store.place.read_marker()

    assert proxy.calls.count(call) == patient.attempts


async def test_a_write_waits_for_the_marker_of_a_bucket_that_is_away(
    s3_settings: S3Settings, proxy: FaultProxy
) -> None:
    """It retries as its own calls do: a restarting gateway ends no upload."""
    patient = replace(s3_settings, retry_for=timedelta(hours=1))
    refused = patient.attempts + 2

    def plan(call: str, before: int) -> Fault | None:
        return Fault.SLOW_DOWN if call == "head_object" and before < refused else None

    async with opened(patient) as store:
        await store.place.write_marker(MARKER)
        store.place.expect(MARKER)
        proxy.calls.clear()
        proxy.plan = plan

        await store.place.require_expected()

    assert proxy.calls.count("head_object") == refused + 1


async def test_something_large_is_no_marker(
    store: S3Store, proxy: FaultProxy, door: BucketBackdoor
) -> None:
    """It is not read to its end."""
    await door.plant(MARKER_NAME, bytes(3 * MAX_MARKER_BYTES) + write_marker_text(MARKER))
    proxy.answered_bytes = MAX_MARKER_BYTES  # as much as is needed

    with pytest.raises(MarkerRefused, match="damaged"):
        await store.place.read_marker()
