"""Clients of all kinds read an answer sent in the middle of a body, instead of a reset."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import requests

from imaged.core.limits import GIB, MIB
from imaged.server.settings import ConnectionSettings
from support.server import RawConnection, served, serving
from support.service import OCTETS, Service, token_of
from support.settings import configured
from support.waiting import wait_until

SIZE = 1 * GIB
HEADERS = {"Content-Type": OCTETS, **token_of("alice")}
CURL = shutil.which("curl")


class Taken:
    """A service with an active image."""

    def __init__(self, port: int, image_id: str) -> None:
        self.port = port
        self.path = f"/v2/images/{image_id}/file"
        self.url = f"http://127.0.0.1:{port}{self.path}"


@pytest.fixture
def service() -> Service:
    """Settings that allow large images."""
    return Service(max_size_bytes=2 * SIZE)


@pytest.fixture
def taken(service: Service) -> Iterator[Taken]:
    """An image whose every upload is refused with 409 before its first byte is read."""
    image_id = asyncio.run(service.create_active(b"hello"))
    with served(service) as port:
        yield Taken(port, image_id)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A large sparse file."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def test_a_client_that_sends_all_before_it_reads(taken: Taken, large: Path) -> None:
    """Upload with http.client."""
    connection = http.client.HTTPConnection("127.0.0.1", taken.port, timeout=30)
    with large.open("rb") as body:
        headers = {**HEADERS, "Content-Length": str(SIZE)}
        with suppress(BrokenPipeError):  # the linger is over; the answer has arrived
            connection.request("PUT", taken.path, body, headers)
        assert connection.getresponse().status == 409
    connection.close()


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_requests(taken: Taken, large: Path, *, is_chunked: bool) -> None:
    """The library that the openstack client uploads with; it sends images in chunks."""

    def blocks() -> Iterator[bytes]:
        block = bytes(MIB)
        for _ in range(SIZE // MIB):
            yield block

    with large.open("rb") as file:
        data = blocks() if is_chunked else file
        answer = requests.put(taken.url, data=data, headers=HEADERS, timeout=30)
    assert answer.status_code == 409


def test_aiohttp(taken: Taken, large: Path) -> None:
    """A client that reads while it sends."""

    async def put() -> int:
        async with aiohttp.ClientSession() as session:
            with large.open("rb") as file:
                async with session.put(taken.url, data=file, headers=HEADERS) as answer:
                    await answer.read()
                    return answer.status

    assert asyncio.run(put()) == 409


@pytest.mark.system
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
def test_curl(taken: Taken, large: Path, expect: str) -> None:
    """A client that expects 100 Continue, and one that does not."""
    assert CURL, "curl is needed: apt install curl"
    token = "".join(f"{name}: {text}" for name, text in token_of("alice").items())
    done = subprocess.run(
        [
            CURL, "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", large, "-H", expect,
            "-H", f"Content-Type: {OCTETS}", "-H", token, taken.url,
        ],
        capture_output=True, check=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == "409"


def test_an_endless_body_is_not_read_endlessly(service: Service) -> None:
    """The server closes its half of the connection, and soon the rest."""
    image_id = asyncio.run(service.create_active(b"hello"))
    settings = configured(ConnectionSettings, linger=timedelta(milliseconds=200))
    with serving(service.app, settings) as (port, server), RawConnection(port) as line:
        line.ask(f"PUT /v2/images/{image_id}/file", *_named(HEADERS), f"Content-Length: {SIZE}")
        assert line.read()[0] == 409
        assert line.read_rest() == b""
        with pytest.raises(ConnectionError):
            line.socket.sendall(bytes(SIZE))
        wait_until(lambda: not len(server.connections))


def _named(headers: dict[str, str]) -> list[str]:
    return [f"{name}: {text}" for name, text in headers.items() if name == "Content-Type"]
