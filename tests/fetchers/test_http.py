"""Fetches over real connections: what is refused, what is resumed, and the messages."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.abc import AbstractResolver

from core.test_network_policy import INSIDE
from imaged.core.errors import FetchFailed, FetchRefused
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.http_fetcher import HttpFetcher
from support.origin import Origin
from support.rebinding import RebindingResolver
from support.settings import configured
from support.waiting import SHORT_PAUSES

pytestmark = pytest.mark.asyncio

BODY = os.urandom(300_000)
CLOSED_PORT = 1
SOON = timedelta(seconds=0.2)
DISGUISED = ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::ffff:7f00:1]"]


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    """A server on an allowed address."""
    async with Origin(BODY, host="127.0.0.2").running() as origin:
        yield origin


def fetcher_for(
    origin: Origin, resolver: AbstractResolver | None = None, *, attempts: int = 5, **changes: Any
) -> HttpFetcher:
    """A fetcher that may reach this server, and nothing else inside."""
    settings: dict[str, Any] = {
        "allow": (ip_network(f"{origin.host}/32"),),
        "ports": (80, 443, origin.port),
        "retries": replace(SHORT_PAUSES, attempts=attempts),
    }
    resolver_of = None if resolver is None else lambda _: resolver
    return HttpFetcher(configured(FetchSettings, **{**settings, **changes}), resolver_of)


async def fetch(fetcher: HttpFetcher, url: str, **headers: str) -> bytes:
    """The whole body."""
    async with fetcher.open(url, headers) as fetched:
        return b"".join([chunk async for chunk in fetched.chunks])


def bring(origin: Origin, trouble: dict[str, Any]) -> None:
    """Let a server be in trouble."""
    for name, value in trouble.items():
        setattr(origin, name, deepcopy(value))


def as_host(address: str) -> str:
    """An address as the host of a URL."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


@pytest.mark.parametrize("says_size", [True, False])
async def test_a_body_comes_whole(origin: Origin, *, says_size: bool) -> None:
    """With its size, if it is known, and requested without a content coding."""
    origin.says_size = says_size

    async with fetcher_for(origin).open(origin.url) as fetched:
        assert fetched.size_bytes == (len(BODY) if says_size else None)
        assert b"".join([chunk async for chunk in fetched.chunks]) == BODY

    assert origin.asked[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("host", [*INSIDE, *DISGUISED])
async def test_forbidden_addresses_directly(host: str) -> None:
    """Refused by ``check``, and again by the fetch."""
    fetcher = HttpFetcher(configured(FetchSettings))
    url = f"http://{as_host(host)}/image"

    with pytest.raises(FetchRefused):
        await fetcher.check(url)
    with pytest.raises(FetchRefused) as refusal:
        await fetch(fetcher, url)
    assert refusal.value.phase == "address"


@pytest.mark.parametrize("host", [*INSIDE, *DISGUISED])
async def test_forbidden_addresses_behind_a_redirect(origin: Origin, host: str) -> None:
    """Every hop is checked."""
    origin.target = f"http://{as_host(host)}/image"

    with pytest.raises(FetchRefused):
        await fetch(fetcher_for(origin), origin.redirect_url)
    assert len(origin.asked) == 1


async def test_names_are_looked_up_in_threads_of_their_own() -> None:
    """Not in those of the event loop, which S3 and PostgreSQL need: here it has none."""
    none = ThreadPoolExecutor(1)
    none.shutdown()
    asyncio.get_running_loop().set_default_executor(none)

    with pytest.raises(FetchRefused) as refusal:
        await HttpFetcher(configured(FetchSettings)).check("http://localhost/image")
    assert refusal.value.phase == "address"


@pytest.mark.parametrize("address", INSIDE)
async def test_names_that_change_what_they_stand_for(address: str) -> None:
    """The address that is connected to is checked, not an earlier one."""
    resolver = RebindingResolver(["8.8.8.8", address])
    fetcher = HttpFetcher(configured(FetchSettings), lambda _: resolver)

    await fetcher.check("http://images.example/image")
    with pytest.raises(FetchRefused):
        await fetch(fetcher, "http://images.example/image")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://images.example/image", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://images.example/", "scheme"),
        ("//images.example/image", "scheme"),
        ("images.example/image", "scheme"),
        ("http:///image", "host"),
        ("http://user@images.example/image", "user name"),
        ("http://user:made-up@images.example/image", "user name"),
        ("http://images.example:22/image", "fetch.ports"),
        ("http://images.example:99999/image", "cannot be parsed"),
        ("https://images.example:80443/image", "cannot be parsed"),
        (f"http://images.example/{'x' * 5000}", "longer"),
        ("http://[::1/image", "cannot be parsed"),
        *(
            (text, None)
            for text in ("http://h/a\tb", "http://h/\r\nX: y", "http://h/\x00", "h\ud800")
        ),
    ],
)
async def test_urls_that_are_refused_unasked(url: str, reason: str | None) -> None:
    """With the reason, and without secrets."""
    with pytest.raises(FetchRefused, match=reason) as refusal:
        await HttpFetcher(configured(FetchSettings)).check(url)
    assert "made-up" not in str(refusal.value)


async def test_an_address_inside_beside_one_that_is_down(origin: Origin) -> None:
    """The error, and whether it is retryable, concern the allowed address."""
    resolver = RebindingResolver([["127.0.0.3", origin.host]] * 2)
    fetcher = fetcher_for(origin, resolver, attempts=2, ports=(CLOSED_PORT,))

    with pytest.raises(FetchFailed, match="cannot be connected to"):
        await fetch(fetcher, f"http://images.example:{CLOSED_PORT}/image")
    assert resolver.asked == ["images.example"] * 2


async def test_the_name_that_is_looked_at_is_the_one_that_is_connected_to(origin: Origin) -> None:
    """However a library encodes it (RFC 5891 and RFC 3490 differ in this one)."""
    resolver = RebindingResolver([origin.host] * 2)
    fetcher, url = fetcher_for(origin, resolver), f"http://fa\u00df.example:{origin.port}/image"

    await fetcher.check(url)
    assert await fetch(fetcher, url) == BODY

    assert resolver.asked == ["xn--fa-hia.example"] * 2


async def test_a_name_that_cannot_be_resolved_may_be_later(origin: Origin) -> None:
    """``check`` accepts it, and the fetch fails with its host and phase."""
    fetcher = fetcher_for(origin, attempts=1)

    await fetcher.check("http://nowhere.invalid/image?token=made-up")
    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher, "http://nowhere.invalid/image?token=made-up")

    assert (failure.value.host, failure.value.phase) == ("nowhere.invalid", "name")
    assert "made-up" not in str(failure.value)


async def test_proxies_of_the_environment_are_not_asked(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would connect for imaged, without any check of the address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert await fetch(fetcher_for(origin), origin.url) == BODY


async def test_a_redirect_is_followed(origin: Origin) -> None:
    """To an allowed URL; a header for the first origin is not sent there."""
    async with Origin(BODY, host="127.0.0.3").running() as other:
        origin.target = other.url
        networks = (ip_network("127.0.0.2/31"),)
        fetcher = fetcher_for(origin, allow=networks, ports=(origin.port, other.port))

        assert await fetch(fetcher, origin.redirect_url, **{"X-Auth-Token": "made-up"}) == BODY

    assert origin.asked[0]["X-Auth-Token"] == "made-up"
    assert "X-Auth-Token" not in other.asked[0]


@pytest.mark.parametrize("etag", ['"one"', 'W/"one"'])
async def test_a_break_is_resumed(origin: Origin, etag: str) -> None:
    """Several times, at the byte where it broke off, with the validator if it is strong."""
    origin.etag = etag
    origin.breaks = [100_000, 1, 50_000]

    assert await fetch(fetcher_for(origin), origin.url) == BODY

    ranges = [headers.get("Range") for headers in origin.asked]
    assert ranges == [None, "bytes=100000-", "bytes=100001-", "bytes=150001-"]
    strong = etag if etag == '"one"' else None
    assert {headers.get("If-Range") for headers in origin.asked[1:]} == {strong}


@pytest.mark.parametrize(
    "trouble",
    [
        {"knows_ranges": False, "breaks": [100_000]},  # validated, so received bytes are skipped
        {"etag": None, "breaks": [0, 0]},  # before the first byte: nothing needs to be compared
        {"statuses": [503, 500, 200]},
    ],
)
async def test_trouble_that_passes_is_not_told(origin: Origin, trouble: dict[str, Any]) -> None:
    """The fetch begins again, and goes on without a message."""
    bring(origin, trouble)

    assert await fetch(fetcher_for(origin), origin.url) == BODY


@pytest.mark.parametrize(
    ("trouble", "settings", "phase", "text", "asked"),
    [
        ({"breaks": [0] * 20}, {}, "body", "", 3),
        *(({"statuses": [status] * 9}, {}, "answer", str(status), 1) for status in (404, 403)),
        *(({"statuses": [status] * 9}, {}, "answer", str(status), 3) for status in (500, 503, 429)),
        ({"encoding": "gzip"}, {}, "answer", "gzip", 1),
        ({"hangs_after": 10}, {"rate_window": SOON, "attempts": 1}, "body", "per second", 1),
        ({"hangs_after": 10}, {"total_time": SOON}, "body", "longer than", 1),
    ],
)
async def test_trouble_that_stays(
    origin: Origin,
    trouble: dict[str, Any],
    settings: dict[str, Any],
    phase: str,
    text: str,
    *,
    asked: int,
) -> None:
    """Retryable trouble is met as often as there are attempts; the last error is reported."""
    bring(origin, trouble)

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher_for(origin, **{"attempts": 3, **settings}), origin.url)
    assert (failure.value.phase, len(origin.asked)) == (phase, asked)
    assert text in str(failure.value)


@pytest.mark.parametrize("knows_ranges", [True, False])
async def test_a_body_that_changed_is_not_glued(origin: Origin, *, knows_ranges: bool) -> None:
    """A mixture of two versions would be neither."""
    origin.knows_ranges = knows_ranges
    origin.breaks = [100_000]
    origin.changes = [BODY, os.urandom(300_000)]

    with pytest.raises(FetchFailed, match="cannot be resumed"):
        await fetch(fetcher_for(origin), origin.url)


@pytest.mark.parametrize(
    ("scheme", "is_open"), [("http", False), ("https", True)], ids=["no server", "no TLS"]
)
async def test_no_such_server_listens(origin: Origin, scheme: str, *, is_open: bool) -> None:
    """The message says that connecting failed."""
    port = origin.port if is_open else CLOSED_PORT
    fetcher = fetcher_for(origin, ports=(port,), attempts=2)

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher, f"{scheme}://{origin.host}:{port}/image")
    assert (failure.value.host, failure.value.phase) == (f"{origin.host}:{port}", "connection")
