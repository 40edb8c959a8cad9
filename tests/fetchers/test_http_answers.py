"""The exact requests of a fetch, and its handling of unusual answers of real servers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network

import pytest

from imaged.core.errors import FetchFailed
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.http_fetcher import HttpFetcher
from imaged.fetchers.response_headers import retry_after_seconds
from imaged.fetchers.ssrf_guard import parse_unchanged
from support.raw_origin import Answer, RawOrigin, reply
from support.settings import configured
from support.waiting import SHORT_PAUSES

pytestmark = pytest.mark.asyncio

PLAIN = bytes(range(256)) * 400
OLD, NEW = b"A" * 100_000, b"B" * 100_000
HALF = len(OLD) // 2
MONDAY = "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"
TUESDAY = "Last-Modified: Tue, 03 Nov 2026 10:00:00 GMT"


async def fetch(
    origin: RawOrigin,
    target: str,
    *,
    attempts: int = 5,
    is_compared: bool = False,
    **changes: object,
) -> bytes:
    """The whole body."""
    settings: dict[str, object] = {
        "allow": (ip_network("127.0.0.2/32"),),
        "ports": (origin.port,),
        "retries": replace(SHORT_PAUSES, attempts=attempts),
        **changes,
    }
    fetcher = HttpFetcher(configured(FetchSettings, **settings))
    async with fetcher.open(origin.url(target), is_compared=is_compared) as fetched:
        return b"".join([chunk async for chunk in fetched.chunks])


SIGNED = [
    "/plain.img",
    "/a?sig=a%2Fb%3D%2Bc%3D",
    "/a%7Eb",
    "/a%28b%29.img",
    "/%c3%bcbung.img",
    "/a?name=it%27s",
    "/x/./y.img",
    "/x/../y.img",
    "/a%2Eimg",
    "/a%2Fb.img",
    "/a%40b?u=a%40b",
    "/a.img?",
    "/a.img??",
    "/a//b",
    "/a%zz",
    "/a;b=c?d[]=e|f",
    "/?",
]


@pytest.mark.parametrize("target", SIGNED)
async def test_the_target_goes_out_as_it_is_written(target: str) -> None:
    """A signature covers the exact bytes, also in the target of a redirect."""

    def answer(asked: str, _: Mapping[str, str]) -> bytes:
        if asked == "/go":
            return reply("302 Found", b"", f"Location: {origin.url(target)}")
        if asked == "/here":
            return reply("302 Found", b"", f"Location: {target}")
        if asked == "/same-scheme":
            return reply("302 Found", b"", f"Location: //{origin.host}:{origin.port}{target}")
        return reply("200 OK", PLAIN)

    async with RawOrigin(answer).running() as origin:
        for start in (target, "/go", "/here", "/same-scheme"):
            assert await fetch(origin, start) == PLAIN

    assert origin.targets == [target, "/go", target, "/here", target, "/same-scheme", target]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://h", "/"),
        ("http://h?x=1", "/?x=1"),
        ("http://h/a#fragment", "/a"),
        ("http://h/a b", "/a%20b"),
        ("http://h/ü?q=ü", "/%C3%BC?q=%C3%BC"),
    ],
)
async def test_values_that_no_header_can_hold(text: str, target: str) -> None:
    """It is encoded by RFC 3987, and a fragment is not sent."""
    assert parse_unchanged(text).raw_path_qs == target


CHUNKED = b"%x\r\n" % len(PLAIN) + PLAIN + b"\r\n0\r\n\r\n"
PACKED = gzip.compress(PLAIN, mtime=0)  # names of tests are made of it
PACKED_CHUNKED = b"%x\r\n" % len(PACKED) + PACKED + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (PLAIN, "Content-Encoding: aws-chunked"),
        (PLAIN, "Content-Encoding: "),
        (PLAIN, "Content-Encoding: identity"),
        (PLAIN, "Content-Encoding: Identity, identity"),
        (CHUNKED, "Transfer-Encoding: chunked"),
        (CHUNKED, "Transfer-Encoding: Chunked"),
        (PLAIN, f"Content-Security-Policy: {'x' * 60_000}"),
    ],
)
async def test_headers_that_leave_the_bytes_alone(body: bytes, header: str) -> None:
    """Object stores and web servers send them."""
    async with RawOrigin(lambda _, __: reply("200 OK", body, header)).running() as origin:
        assert await fetch(origin, "/") == PLAIN


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (PACKED, "Content-Encoding: gzip"),
        (PACKED, "Content-Encoding: aws-chunked,gzip"),
        (PACKED, "Content-Encoding: aws-chunked\r\nContent-Encoding: gzip"),
        (PACKED_CHUNKED, "Transfer-Encoding: gzip, chunked"),
        (PACKED, "Transfer-Encoding: gzip"),
        (CHUNKED, "Transfer-Encoding: odd, chunked"),
    ],
)
async def test_codings_that_would_have_to_be_undone(body: bytes, header: str) -> None:
    """Encoded bytes are never taken for the image."""
    async with RawOrigin(lambda _, __: reply("200 OK", body, header)).running() as origin:
        with pytest.raises(FetchFailed) as failure:
            await fetch(origin, "/", attempts=1)

    assert failure.value.phase == "answer"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (reply(b"404 Nicht gefunden: f\xfcr"), "404"),
        (reply(b"503 besch\xe4ftigt \x1b[31m"), "503"),
        (reply("200 OK", b"x", b"Content-Encoding: f\xfcr"), "encoded as f"),
        (reply("404 " + "x" * 20_000), "404"),
        (reply("302 Found", b"", "Location: ht\ttp://[::1"), "an invalid URL"),
        (reply("302 Found", b"", "Location: ht\ttp://a\u2100b/"), "an invalid URL"),
        (reply("200 OK", PLAIN, f"X-Long: {'x' * 70_000}"), "64 KiB"),
    ],
    ids=range(7),
)
async def test_foreign_text_is_cleaned(answer: bytes, told: str) -> None:
    """It can be stored and shown, whatever the other server sends."""
    async with RawOrigin(lambda _, __: answer).running() as origin:
        with pytest.raises(FetchFailed) as failure:
            await fetch(origin, "/", attempts=2)

    sentence = str(failure.value)
    assert told in sentence
    assert sentence.encode()
    assert sentence.isprintable()
    assert len(sentence) < 300


@pytest.mark.parametrize(("hops", "comes"), [(10, True), (11, False)])
async def test_ten_redirects(hops: int, *, comes: bool) -> None:
    """Mirrors and object stores behind them need several."""

    def answer(asked: str, _: Mapping[str, str]) -> bytes:
        left = int(asked[1:])
        if left:
            return reply("302 Found", b"", f"Location: /{left - 1}")
        return reply("200 OK", PLAIN)

    async with RawOrigin(answer).running() as origin:
        if comes:
            assert await fetch(origin, f"/{hops}") == PLAIN
        else:
            with pytest.raises(FetchFailed, match="more than 10") as failure:
                await fetch(origin, f"/{hops}")
            assert failure.value.phase == "redirect"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("", 0.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("9" * 30, 0.0),
        ("Sun, 29 Nov 2026 12:01:30 GMT", 90.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -0100", 0.0),
        (f"Fri, 31 Dec {'9' * 30} 23:59:59 GMT", 0.0),
        (f"Sun, 29 Nov 2026 12:01:30 +{'9' * 30}", 0.0),
    ],
)
async def test_retry_after_is_honoured(text: str, seconds: float) -> None:
    """Seconds, or a date (RFC 9110, 10.2.3); an invalid value means no pause."""
    now = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)

    assert retry_after_seconds(text, now) == seconds


async def test_retry_after_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request comes no earlier than it asks for."""
    pauses: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real_sleep(0)

    monkeypatch.setattr("imaged.fetchers.http_fetcher.asyncio.sleep", sleep)
    later = datetime.now(UTC) + timedelta(hours=1)
    answers = [
        reply("503 Busy", b"", "Retry-After: 77"),
        reply("429 Slow down", b"", f"Retry-After: {format_datetime(later, usegmt=True)}"),
        reply("200 OK", PLAIN),
    ]
    async with RawOrigin(lambda _, __: answers.pop(0)).running() as origin:
        assert await fetch(origin, "/") == PLAIN

    assert pauses[0] == 77
    assert 3500 < pauses[1] <= 3600


async def test_retry_after_beyond_the_total_time() -> None:
    """The fetch fails at once, because waiting could not help."""
    answer = reply("503 Busy", b"", "Retry-After: 7200")
    async with RawOrigin(lambda _, __: answer).running() as origin:
        with pytest.raises(FetchFailed, match="503"):
            await fetch(origin, "/", total_time=timedelta(hours=1))

    assert len(origin.targets) == 1


def changing(
    first: list[str], later: list[str], *, total: str = "100000", shift_bytes: int = 0
) -> Answer:
    """Breaks off in the middle; then sends a newer body of the same size despite If-Range.

    ``shift_bytes``: how far behind the requested offset the rest begins.
    """
    seen: list[str] = []

    def answer(target: str, headers: Mapping[str, str]) -> bytes:
        if target not in seen:
            seen.append(target)
            return reply("200 OK", OLD[:HALF], f"Content-Length: {len(OLD)}", *first)
        if "range" not in headers:
            return reply("200 OK", NEW, *later)
        start = int(headers["range"].removeprefix("bytes=").rstrip("-")) + shift_bytes
        content = f"Content-Range: bytes {start}-{len(NEW) - 1}/{total}"
        return reply("206 Partial Content", NEW[start:], content, *later)

    return answer


@pytest.mark.parametrize(
    ("first", "later", "are_same"),
    [
        (['ETag: "1"'], ['ETag: "2"'], False),
        (['ETag: "1"'], [], False),
        ([], ['ETag: "2"'], False),
        ([MONDAY], [TUESDAY], False),
        ([MONDAY], [], False),
        (['ETag: "1"', MONDAY], ['ETag: "2"', MONDAY], False),
        (['ETag: "1"', MONDAY], ['ETag: "1"', TUESDAY], False),
        (['ETag: W/"1"'], ['ETag: W/"2"'], False),
        (['ETag: W/"1"', MONDAY], ['ETag: W/"1"'], False),
        ([], [], False),
        (['ETag: "1"'], ['ETag: "1"'], True),
        ([MONDAY], [MONDAY], True),
        (['ETag: "1"', MONDAY], ['ETag: "1"', MONDAY], True),
        (['ETag: "1"', MONDAY], ['ETag: "1"'], True),
        (['ETag: W/"1"', MONDAY], ['ETag: W/"1"', MONDAY], True),
    ],
)
async def test_two_versions_are_never_mixed(
    first: list[str], later: list[str], *, are_same: bool
) -> None:
    """The rest must have the validators of the beginning (RFC 9110, 15.3.7.3). This server's bytes
    differ all the same, so that the test can see which were taken.
    """
    async with RawOrigin(changing(first, later)).running() as origin:
        if are_same:
            assert await fetch(origin, "/image") == OLD[:HALF] + NEW[HALF:]
        else:
            with pytest.raises(FetchFailed, match="cannot be resumed"):
                await fetch(origin, "/image")


@pytest.mark.parametrize(
    ("total", "shift_bytes"), [("100001", 0), ("99999", 0), ("*", 0), ("100000", 1), ("100000", -1)]
)
async def test_a_rest_of_another_size_or_place_is_not_taken(total: str, shift_bytes: int) -> None:
    """Size and offset are compared too; if the size is missing, only a strong tag suffices. The
    whole body is requested again, and must have the validators of the first answer.
    """
    answer = changing([MONDAY], [MONDAY], total=total, shift_bytes=shift_bytes)
    async with RawOrigin(answer).running() as origin:
        assert await fetch(origin, "/image") == OLD[:HALF] + NEW[HALF:]

    assert ["range" in headers for headers in origin.headers] == [False, True, False]


async def test_a_body_without_marks() -> None:
    """Its size suffices if the whole is compared with a digest afterwards. The data of an Image API
    has no validator.
    """
    async with RawOrigin(changing([], [])).running() as origin:
        body = await fetch(origin, "/image", is_compared=True)

    assert body == OLD[:HALF] + NEW[HALF:]


async def test_a_size_that_only_the_rest_tells_is_held_to() -> None:
    """A body of unknown size breaks off twice; the second time it is shorter than announced."""
    chunk = b"%x\r\n" % HALF + OLD[:HALF] + b"\r\n"
    tag = 'ETag: "1"'

    def answer(_: str, headers: Mapping[str, str]) -> bytes:
        if "range" not in headers:
            return reply("200 OK", chunk, "Transfer-Encoding: chunked", tag)
        start = int(headers["range"].removeprefix("bytes=").rstrip("-"))
        content = f"Content-Range: bytes {start}-{len(OLD) - 1}/{len(OLD)}"
        rest = OLD[start : start + 30_000]
        return reply("206 Partial Content", rest, content, tag)

    async with RawOrigin(answer).running() as origin:
        assert await fetch(origin, "/image") == OLD
