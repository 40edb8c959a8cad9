"""What an operator reads about an unusable bucket: at start, in check-config, and later."""

from __future__ import annotations

import logging
import ssl
import traceback
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.store_bodies import body, new_key, read_all
from contracts.store_bucket import BucketBackdoor, opened, settings_for
from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.core.secret import Secret
from imaged.stores.s3.self_test import is_leftover
from imaged.stores.s3.settings import Checksum, S3Settings, S3Tuning
from support.certificates import make_certificate
from support.fault_proxy import Fault, FaultProxy, fail, fail_all, no_faults
from support.seaweedfs import ACCESS_KEY, SECRET_KEY, SeaweedFS
from support.waiting import SHORT_PAUSES

pytestmark = pytest.mark.asyncio

CALLS = {
    "list_objects_v2": "s3:ListBucket",
    "head_bucket": "s3:ListBucket",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_parts": "s3:ListMultipartUploadParts",
    "put_object": "s3:PutObject",
    "head_object": "s3:GetObject",
    "get_object": "s3:GetObject",
    "delete_object": "s3:DeleteObject",
}
QUICK = S3Tuning(pauses=SHORT_PAUSES, abort_pauses=SHORT_PAUSES)


def quick_settings(endpoint: str, **changes: Any) -> S3Settings:
    """Pauses so short that the tests need not wait for them."""
    return settings_for(endpoint, tuning=QUICK, **changes)


async def told(settings: S3Settings) -> str:
    """What the self-test says about such a store."""
    async with opened(settings, "cloud") as store:
        with pytest.raises(StoreError) as trouble:
            await store.self_test()
    assert "'cloud'" in str(trouble.value)
    shown = "".join(traceback.format_exception(trouble.value))
    assert SECRET_KEY not in shown
    return str(trouble.value)


@pytest.mark.parametrize(("call", "right"), CALLS.items())
async def test_every_right_is_missed(
    s3: SeaweedFS, proxy: FaultProxy, call: str, right: str
) -> None:
    """The sentence names the right, and nothing is left but what may not be removed."""
    settings = quick_settings(proxy.endpoint)
    proxy.plan = fail(call, 0, Fault.DENIED)

    assert right in await told(settings)

    proxy.plan = no_faults
    assert await BucketBackdoor(settings, s3.endpoint).objects() == []
    assert await BucketBackdoor(settings, s3.endpoint).uploads() == {}


async def test_a_rehearsal_makes_every_call(proxy: FaultProxy) -> None:
    """Each call that a store will need, with every feature it relies on."""
    async with opened(quick_settings(proxy.endpoint, part_size_bytes=6 * MIB)) as store:
        assert await store.self_test() == []

    assert set(proxy.calls) == set(CALLS)
    assert f"\r\ncontent-length: {6 * MIB}\r\n" in proxy.heads["upload_part"]


@pytest.mark.parametrize(
    ("call", "number", "fault", "text"),
    [
        ("upload_part", 1, Fault.TOO_LONG, "client_max_body_size"),
        ("list_objects_v2", 0, Fault.UNSIGNED, "proxy changes the Host header or the path"),
        ("list_objects_v2", 0, Fault.NOWHERE, "proxy changes the path"),
        ("list_multipart_uploads", 0, Fault.NO_UPLOADS, "does not list the uploads"),
        ("list_multipart_uploads", 1, Fault.EMPTY_LIST, "does not list an upload"),
        ("list_objects_v2", 2, Fault.EMPTY_LIST, "does not list an object"),
        ("get_object", 0, Fault.NO_RANGES, "instead of the requested range"),
        ("head_object", 0, Fault.UNNOTED, "x-amz-meta"),
        ("delete_object", 0, Fault.PRETENDED, "still has an object that was deleted"),
    ],
)
async def test_operations_that_the_server_lacks(
    proxy: FaultProxy, call: str, number: int, fault: Fault, text: str
) -> None:
    """Or a proxy before it: the sentence names the likely cause."""
    proxy.plan = fail(call, number, fault)

    assert text in await told(quick_settings(proxy.endpoint))


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("crc32c", 'set checksum = "md5"'), ("crc32", 'set checksum = "md5"'), ("md5", "https")],
)
async def test_a_server_that_compares_no_checksums(
    proxy: FaultProxy, kind: Checksum, remedy: str
) -> None:
    """Ceph RGW 16.2 accepts any CRC: it is usable, and the sentence says what to set."""
    proxy.plan = fail("put_object", 1, Fault.OTHER_TAG)  # the one whose checksum is wrong

    async with opened(quick_settings(proxy.endpoint, checksum=kind)) as store:
        (lack,) = await store.self_test()

    assert remedy in str(lack)
    assert not isinstance(lack, StoreFull)


@pytest.mark.parametrize("call", ["create_multipart_upload", "upload_part", "put_object"])
async def test_a_bucket_without_room_can_be_used(
    s3: SeaweedFS, proxy: FaultProxy, call: str
) -> None:
    """It is full, not broken: reads and deletes work, and the test leaves nothing."""
    settings = quick_settings(proxy.endpoint)
    key, door = new_key(), BucketBackdoor(settings, s3.endpoint)
    await door.plant(key, b"bytes")
    proxy.plan = fail(call, 0, Fault.FULL, for_ever=True)

    async with opened(settings) as store:
        (lack,) = await store.self_test()
        assert await read_all(store, key) == b"bytes"
        await store.delete(key)

    assert isinstance(lack, StoreFull)
    assert "raise its quota" in str(lack)
    assert await door.objects() == []
    assert await door.uploads() == {}


@pytest.mark.parametrize(
    ("name", "is_over"),
    [
        ("rehearsals/2026-11-18.0123456789abcdef0123456789abcdef", True),
        ("rehearsals/2026-11-19.0123456789abcdef0123456789abcdef", False),
        ("rehearsals/2026-11-20.0123456789abcdef0123456789abcdef", False),
        ("rehearsals/2026-11-21.0123456789abcdef0123456789abcdef", False),
        ("rehearsals/2026-02-30.0123456789abcdef0123456789abcdef", False),
        ("rehearsals/2025-01-01.notes", False),
        ("2025-01-01.0123456789abcdef0123456789abcdef", False),
    ],
)
async def test_which_rehearsals_are_over(name: str, *, is_over: bool) -> None:
    """A day of tolerance, since clocks differ; and nothing that imaged did not put there."""
    assert is_leftover(name, date(2026, 11, 20)) is is_over


async def test_a_rehearsal_removes_what_an_earlier_one_left(s3: SeaweedFS) -> None:
    """An object or an upload of a dead self-test; not those of one that may be running."""
    settings = quick_settings(s3.endpoint)
    door = BucketBackdoor(settings)
    old, new = (f"rehearsals/{day}.{'0' * 32}" for day in ("2001-01-01", "2999-01-01"))
    for name in (old, new):
        await door.plant(name, b"imaged was here")
        await door.write_unfinished(name, b"imaged was here")

    async with opened(settings) as store:
        await store.self_test()
        assert [key async for key in store.list_keys()] == []

    assert await door.objects() == [new]
    assert list((await door.uploads()).values()) == [new]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"access_key": Secret("unknown")}, "access key is not known"),
        ({"access_key": Secret(f"{ACCESS_KEY}-reader")}, "s3:PutObject"),
        ({"secret_key": Secret("wrong")}, "secret key is wrong"),
        ({"bucket": "no-such-bucket"}, "create the bucket"),
        ({"endpoint": "http://127.0.0.1:1", "attempts": 1}, "cannot reach http://127.0.0.1:1"),
        ({"endpoint": "http://s3.invalid", "attempts": 1}, "cannot reach http://s3.invalid"),
    ],
)
async def test_wrong_settings(s3: SeaweedFS, changes: dict[str, Any], text: str) -> None:
    """The sentence says which one to correct."""
    assert text in await told(quick_settings(**{"endpoint": s3.endpoint, **changes}))


async def test_without_any_credentials(
    s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If the library finds none either."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr("imaged.stores.s3.client._library", _fresh_library)

    assert "no credentials" in await told(
        quick_settings(s3.endpoint, access_key=None, secret_key=None)
    )


async def test_credentials_of_the_environment(
    s3: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without configured ones, those that the library finds are used."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setattr("imaged.stores.s3.client._library", _fresh_library)
    settings = quick_settings(s3.endpoint, access_key=None, secret_key=None)

    async with opened(settings) as store:
        await store.self_test()


def _fresh_library() -> Any:
    from aiobotocore.session import get_session

    return get_session()


@pytest.mark.parametrize("call", CALLS)
async def test_another_kind_of_server_answers(proxy: FaultProxy, call: str) -> None:
    """An HTTP server that is not S3: none of its pages is taken for an answer."""
    proxy.plan = fail(call, 0, Fault.PAGE, for_ever=True)

    if call in {"head_bucket", "delete_object", "upload_part", "put_object"}:
        proxy.plan = fail_all(0, Fault.PAGE)  # their answers have no body to check
    await told(quick_settings(proxy.endpoint, attempts=1))


async def test_a_server_without_a_certificate(s3: SeaweedFS) -> None:
    """The endpoint says https, but the server does not speak TLS."""
    settings = quick_settings(s3.endpoint.replace("http:", "https:"), attempts=1)

    await told(settings)


async def test_an_untrusted_certificate(tmp_path: Path, proxy: FaultProxy) -> None:
    """The sentence names the setting; with it, the store is usable."""
    certificate = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with FaultProxy(proxy.server_port).running(context) as secure:
        settings = quick_settings(secure.endpoint, attempts=1)

        assert "set ca_file" in await told(settings)

        async with opened(replace(settings, ca_file=certificate)) as store:
            await store.self_test()
            await store.put(key := new_key(), body(b"over TLS"))
            assert await read_all(store, key) == b"over TLS"


@pytest.mark.parametrize("text", [None, "", "no certificate"])
async def test_certificates_that_cannot_be_read(
    s3: SeaweedFS, tmp_path: Path, text: str | None
) -> None:
    """The sentence names the setting."""
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)

    assert "correct ca_file" in await told(quick_settings(s3.endpoint, ca_file=file))


async def test_a_store_that_hangs(proxy: FaultProxy) -> None:
    """It is given up after the configured time."""
    proxy.plan = fail("list_objects_v2", 0, Fault.HANGING)
    quick = {"connect_timeout": timedelta(seconds=0.1), "read_timeout": timedelta(seconds=0.1)}

    assert "in time" in await told(quick_settings(proxy.endpoint, attempts=1, **quick))


async def test_a_check_is_one_question(proxy: FaultProxy) -> None:
    """It is called often, and makes no retries."""
    async with opened(quick_settings(proxy.endpoint)) as store:
        await store.check()
        proxy.plan = fail("head_bucket", 0, Fault.SLOW_DOWN, for_ever=True)
        with pytest.raises(StoreError):
            await store.check()
        proxy.plan = no_faults
        await store.check()

    assert proxy.calls == ["head_bucket"] * 3


async def test_no_secret_is_logged(s3: SeaweedFS, caplog: pytest.LogCaptureFixture) -> None:
    """Not even with the debug logs of the libraries."""
    caplog.set_level(logging.DEBUG)
    async with opened(quick_settings(s3.endpoint)) as store:
        await store.put(new_key(), body(b"bytes"))
        await store.check()

    assert SECRET_KEY not in caplog.text
