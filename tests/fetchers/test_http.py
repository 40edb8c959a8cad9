"""Fetches over real connections: what is refused, what is resumed, and the messages."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
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


def as_host(address: str) -> str:
    """An address as the host of a URL."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


async def test_a_body_comes_whole(origin: Origin) -> None:
    """With its size, and requested without a content coding."""
    async with fetcher_for(origin).open(origin.url) as fetched:
        assert fetched.size_bytes == len(BODY)
        assert b"".join([chunk async for chunk in fetched.chunks]) == BODY

    assert origin.asked[0]["Accept-Encoding"] == "identity"


async def test_a_body_of_unknown_size(origin: Origin) -> None:
    """Its end is the end of its chunks."""
    origin.says_size = False

    async with fetcher_for(origin).open(origin.url) as fetched:
        assert fetched.size_bytes is None
        assert b"".join([chunk async for chunk in fetched.chunks]) == BODY


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
    ],
)
async def test_urls_that_are_refused_unasked(url: str, reason: str) -> None:
    """With the reason, and without secrets."""
    with pytest.raises(FetchRefused) as refusal:
        await HttpFetcher(configured(FetchSettings)).check(url)
    assert reason in str(refusal.value)
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


async def test_a_circle_of_redirects_ends(origin: Origin) -> None:
    """After the configured number."""
    origin.target = origin.redirect_url

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher_for(origin), origin.redirect_url)
    assert failure.value.phase == "redirect"
    assert len(origin.asked) == 11


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


async def test_a_server_without_ranges_begins_again(origin: Origin) -> None:
    """Received bytes are skipped, because the validator says that they are the same."""
    origin.knows_ranges = False
    origin.breaks = [100_000]

    assert await fetch(fetcher_for(origin), origin.url) == BODY


@pytest.mark.parametrize("knows_ranges", [True, False])
async def test_a_body_that_changed_is_not_glued(origin: Origin, *, knows_ranges: bool) -> None:
    """A mixture of two versions would be neither."""
    origin.knows_ranges = knows_ranges
    origin.breaks = [100_000]
    origin.changes = [BODY, os.urandom(300_000)]

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher_for(origin), origin.url)
    assert "cannot be resumed" in str(failure.value)


async def test_a_break_before_the_first_byte_begins_again(origin: Origin) -> None:
    """Nothing needs to be compared then."""
    origin.etag = None
    origin.breaks = [0, 0]

    assert await fetch(fetcher_for(origin), origin.url) == BODY


async def test_attempts_end(origin: Origin) -> None:
    """If none of them brings a byte."""
    origin.breaks = [0] * 20

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher_for(origin, attempts=3), origin.url)
    assert failure.value.phase == "body"
    assert len(origin.asked) == 3


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (500, 3), (503, 3), (429, 3)])
async def test_answers_that_are_no_body(origin: Origin, status: int, asked: int) -> None:
    """Retryable ones are retried; the last one is reported."""
    origin.statuses = [status] * 9

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher_for(origin, attempts=3), origin.url)
    assert failure.value.phase == "answer"
    assert str(status) in str(failure.value)
    assert len(origin.asked) == asked


async def test_trouble_that_passes_is_not_told(origin: Origin) -> None:
    """The fetch goes on without a message."""
    origin.statuses = [503, 500, 200]

    assert await fetch(fetcher_for(origin), origin.url) == BODY


async def test_an_encoding_that_was_not_asked_for(origin: Origin) -> None:
    """Its bytes would not be the image's."""
    origin.encoding = "gzip"

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher_for(origin), origin.url)
    assert "gzip" in str(failure.value)


async def test_a_server_that_stops_sending(origin: Origin) -> None:
    """The connection is closed, and the message has the minimum rate."""
    origin.hangs_after = 10
    fetcher = fetcher_for(origin, rate_window=timedelta(seconds=0.2), attempts=1)

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher, origin.url)
    assert "per second" in str(failure.value)


async def test_the_total_time_ends_it(origin: Origin) -> None:
    """However fast it is."""
    origin.hangs_after = 10
    fetcher = fetcher_for(origin, total_time=timedelta(seconds=0.2))

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher, origin.url)
    assert "longer than" in str(failure.value)


async def test_no_server_listens(origin: Origin) -> None:
    """The message says that connecting failed."""
    with socket.create_server((origin.host, 0)) as listener:
        port = listener.getsockname()[1]
    fetcher = fetcher_for(origin, ports=(port,), attempts=2)

    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher, f"http://{origin.host}:{port}/image")
    assert (failure.value.host, failure.value.phase) == (f"{origin.host}:{port}", "connection")


async def test_tls_that_is_not_there(origin: Origin) -> None:
    """A plain server does not answer https."""
    with pytest.raises(FetchFailed) as failure:
        await fetch(fetcher_for(origin), origin.url.replace("http:", "https:"))
    assert failure.value.phase == "connection"


async def test_names_are_resolved_for_real(origin: Origin) -> None:
    """By default the system resolves names, and the address is allowed by its number."""
    fetcher = HttpFetcher(
        configured(FetchSettings, allow=(ip_network("127.0.0.0/8"),), ports=(origin.port,))
    )

    await fetcher.check(f"http://localhost:{origin.port}/image")
