"""Time limits of clients, on real sockets, and waits that do not count."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from imaged.core.lifecycle import Status
from imaged.core.limits import KIB, MIB
from imaged.server.connections import CloseReason
from imaged.server.server import HttpServer
from imaged.server.settings import ConnectionSettings, MinimumRate
from support.server import RawConnection, serving
from support.service import OCTETS, Service
from support.settings import configured
from support.waiting import wait_until

TYPE = f"Content-Type: {OCTETS}"
SHORT = timedelta(milliseconds=500)
LONG = timedelta(hours=1)
AT_EVERY_TICK = 0.1  # seconds between checks of connections
NO_RATE = configured(MinimumRate, bytes_per_second=0)
PATIENT: dict[str, Any] = {"header_timeout": LONG, "idle_timeout": LONG, "min_rate": NO_RATE}


@contextmanager
def limited(app: ASGIApp, **limits: Any) -> Iterator[tuple[int, HttpServer]]:
    """Serve with these limits only; at the end, no connection is open."""
    settings = configured(ConnectionSettings, **{**PATIENT, **limits})
    with serving(app, settings, check_interval_seconds=AT_EVERY_TICK) as (port, server):
        yield port, server
        wait_until(lambda: not len(server.connections))


def raw(port: int, data: bytes = b"") -> RawConnection:
    """Connect and send these bytes."""
    line = RawConnection(port)
    line.socket.sendall(data)
    return line


def test_a_header_that_takes_too_long(service: Service) -> None:
    """An incomplete header gets 408; a connection without any byte is closed silently."""
    with limited(service.app, header_timeout=SHORT) as (port, server):
        with raw(port, b"GET /livez HTTP/1.1\r\nX: ") as line:
            status, headers = line.read_head()
            assert (status, headers["connection"]) == (408, "close")
        with raw(port) as line:
            assert line.read_rest() == b""
        with raw(port, b"\r\n") as line:
            assert line.read_rest().startswith(b"HTTP/1.1 408 ")
        assert server.connections.ended == {CloseReason.SLOW_HEADER: 3}


def test_a_header_that_trickles(service: Service) -> None:
    """Single bytes do not extend the header's timeout."""
    with limited(service.app, header_timeout=SHORT) as (port, _), raw(port) as line:
        line.socket.settimeout(0.02)
        answer = b""
        while not answer:
            line.socket.sendall(b"G")
            try:
                answer = line.socket.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))


def test_a_second_header_that_takes_too_long(service: Service) -> None:
    """The header's timeout starts with its first byte, not with the previous answer."""
    with limited(service.app, header_timeout=SHORT) as (port, _), raw(port) as line:
        line.ask("GET /livez")
        assert line.read()[0] == 200
        line.socket.sendall(b"G")
        assert line.read_head()[0] == 408


def test_an_idle_connection(service: Service) -> None:
    """An idle connection is closed silently, after a refused body too."""
    with limited(service.app, idle_timeout=SHORT) as (port, server):
        with raw(port) as line:
            line.ask("GET /livez")
            assert line.read()[0] == 200
            assert line.read_rest() == b""
        with raw(port) as line:
            line.ask("PUT /v2/nowhere", "Content-Length: 9", body=b"half")
            assert line.read()[0] == 404
            line.socket.sendall(b"other")
            assert line.read_rest() == b""
        assert server.connections.ended == {CloseReason.IDLE: 2}


@pytest.mark.parametrize(
    "header",
    [
        b"X: " + b"x" * 33 * KIB + b"\r\n\r\n",
        b"X: " + b"x" * 33 * KIB,
        b"X" * 33 * KIB,
        b"".join(b"X-%d: a\r\n" % number for number in range(4000)) + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(4000)),
    ],
    ids=["one", "one without an end", "a name", "many", "many without an end"],
)
@pytest.mark.parametrize("piece_bytes", [1 * MIB, 1000])
def test_a_header_that_is_too_large(service: Service, header: bytes, piece_bytes: int) -> None:
    """A large header gets 431, whole or in pieces, complete or not."""
    wire = b"GET /livez HTTP/1.1\r\nHost: a\r\n" + header
    with limited(service.app) as (port, server), raw(port) as line:
        for start in range(0, len(wire), piece_bytes):
            line.socket.sendall(wire[start : start + piece_bytes])
        assert line.read_head()[0] == 431
        assert server.connections.ended == {CloseReason.LARGE_HEADER: 1}


def test_an_address_that_is_too_large(service: Service) -> None:
    """The request target counts as a part of the header."""
    with limited(service.app) as (port, _):
        with raw(port, b"GET /" + b"a" * 33 * KIB) as line:
            assert line.read_head()[0] == 431
        with raw(
            port, b"GET /v2/images?name=" + b"a" * 20 * KIB + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        ) as line:
            assert line.read_head()[0] in {400, 401}


def test_a_chunk_extension_without_an_end(service: Service) -> None:
    """Chunk extensions are limited; chunks of one byte are not affected."""
    image_id = asyncio.run(service.create())
    with limited(service.app) as (port, server):
        with raw(port) as line:
            line.ask(f"PUT /v2/images/{image_id}/file", TYPE, "Transfer-Encoding: chunked")
            wait_until(lambda: service.image(image_id).status is Status.SAVING)
            line.socket.sendall(b"1;" + b"a" * 64 * KIB)
            assert line.read_head()[0] == 400
        assert server.connections.ended == {CloseReason.MALFORMED: 1}
        wait_until(lambda: service.image(image_id).status is Status.QUEUED)
        with raw(port) as line:
            line.ask(f"PUT /v2/images/{image_id}/file", TYPE, "Transfer-Encoding: chunked")
            line.socket.sendall(b"1;a=b\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
            assert line.read()[0] == 204


RATE = MinimumRate(1 * MIB, SHORT)


def test_a_body_that_is_too_slow(service: Service) -> None:
    """A slow body gets 408 after its claim was released: the next upload can start at once."""
    image_id = asyncio.run(service.create())
    with limited(service.app, min_rate=RATE) as (port, server):
        with raw(port) as line:
            line.ask(f"PUT /v2/images/{image_id}/file", TYPE, "Content-Length: 100", body=b"x")
            status, headers, body = line.read()
            assert (status, headers["connection"]) == (408, "close")
            assert headers["x-openstack-request-id"].startswith("req-")
            assert b"too slowly" in body
            assert service.image(image_id).status is Status.QUEUED
        with raw(port) as line:
            line.ask(
                f"PUT /v2/images/{image_id}/file", TYPE, "Content-Length: 100", body=100 * b"x"
            )
            assert line.read()[0] == 204
        assert server.connections.ended == {CloseReason.SLOW_BODY: 1}


def test_a_rest_that_is_too_slow(service: Service) -> None:
    """After an early answer, the connection is closed without a second answer."""
    with limited(service.app, min_rate=RATE) as (port, _), raw(port) as line:
        line.ask("PUT /v2/nowhere", "Content-Length: 100", body=b"x")
        assert line.read()[0] == 404
        assert line.read_rest() == b""


class Slow:
    """An application that does not read until it may, and then says how much came."""

    def __init__(self) -> None:
        self.may_read = threading.Event()
        self.is_asked = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, late."""
        del scope
        self.is_asked.set()
        await asyncio.to_thread(self.may_read.wait)
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message["body"])
            more = message["more_body"]
        body = str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "X: none"])
def test_waiting_for_the_server_is_not_slow(expect: str) -> None:
    """Time that the client waits for 100 Continue, or for the server to read, does not count."""
    app, size = Slow(), 2 * MIB
    with limited(app, min_rate=RATE) as (port, server), raw(port) as line:
        line.ask("PUT /", f"Content-Length: {size}", expect)
        sender = threading.Thread(target=line.socket.sendall, args=(b"x" * size,))
        if "100" not in expect:
            sender.start()
        app.is_asked.wait()
        looks = CountedChecks(server)
        wait_until(lambda: looks.count > 15)  # three windows
        app.may_read.set()
        if "100" in expect:
            assert line.read_head()[0] == 100
            sender.start()
        assert line.read()[2] == str(size).encode()
        sender.join()
        assert not server.connections.ended


class CountedChecks:
    """Counts the checks of a server, as one of its connections."""

    def __init__(self, server: HttpServer) -> None:
        self.count = 0
        self._server = server
        server.connections._open[self] = None

    def check_timeouts(self, elapsed_seconds: float) -> None:
        """Count a check; after forty, stop counting as a connection."""
        del elapsed_seconds
        self.count += 1
        if self.count > 20:
            self._server.connections.remove(self)


def test_settings_can_be_exchanged(service: Service) -> None:
    """New limits apply to open connections at the next check."""
    with limited(service.app) as (port, server), raw(port) as line:
        line.ask("GET /livez")
        assert line.read()[0] == 200
        server.connections.settings = configured(ConnectionSettings, idle_timeout=SHORT)
        assert line.read_rest() == b""


def test_a_connection_beyond_the_limit(service: Service) -> None:
    """A refused connection gets 503; open ones are unaffected, and a closed one makes room."""
    with limited(service.app, max_connections=2) as (port, server):
        with raw(port) as one, raw(port) as two:
            for line in (one, two):
                line.ask("GET /livez")
                assert line.read()[0] == 200
            for _ in range(50):
                with raw(port) as refused:
                    status, headers, body = refused.read()
                    assert (status, headers["connection"]) == (503, "close")
                    assert headers["retry-after"]
                    assert b"too many connections" in body
            for line in (one, two):
                line.ask("GET /livez")
                assert line.read()[0] == 200
            assert server.connections.ended == {CloseReason.FULL: 50}
            assert len(server.connections) == 2
        wait_until(lambda: not len(server.connections))
        with raw(port) as line:
            line.ask("GET /livez")
            assert line.read()[0] == 200


def test_one_address_cannot_take_all(service: Service) -> None:
    """A client on another address is admitted."""
    with limited(service.app, max_connections_per_address=1) as (port, _), raw(port) as one:
        one.ask("GET /livez")
        assert one.read()[0] == 200
        with raw(port) as refused:
            assert refused.read()[0] == 503
        other = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        with other:
            other.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert other.recv(4096).startswith(b"HTTP/1.1 200 ")
