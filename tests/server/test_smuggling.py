"""Request smuggling: the daemon answers 400 and closes the connection."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from support.command import ServerProcess, Workspace, serving
from support.smuggling import CHUNKED, HOST, SHAPES, SMUGGLED, get, post

PATIENCE_SECONDS = 20


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One daemon for all tests."""
    place = Workspace(tmp_path_factory.mktemp("smuggling"))
    with serving(place.write('[log]\nlevel = "info"\nformat = "json"')) as daemon:
        daemon.wait_for("daemon.started")
        yield daemon
        assert daemon.end() == 0
        assert_quiet(daemon)


def assert_quiet(daemon: ServerProcess) -> None:
    """Malformed requests log nothing, neither by imaged nor by a library."""
    told = {event["event"] for event in daemon.events()}
    assert told <= {"daemon.started", "image.created", "daemon.stopping", "daemon.stopped"}


def exchange(daemon: ServerProcess, *pieces: bytes) -> bytes:
    """Send pieces, and return everything received until the daemon closes."""
    host, _, port = daemon.url.removeprefix("http://").rpartition(":")
    answer = b""
    with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        while received := client.recv(65536):
            answer += received
    return answer


def statuses(answer: bytes) -> list[int]:
    """Return the status of every answer."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize("name", SHAPES)
def test_a_smuggling_request(daemon: ServerProcess, name: str) -> None:
    """The only answer is one 400."""
    answer = exchange(daemon, SHAPES[name] + SMUGGLED)

    assert statuses(answer) == [400]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"x-openstack-request-id: req-" in head
    assert f"content-length: {len(body)}".encode() in head


@pytest.mark.parametrize("name", SHAPES)
def test_a_smuggling_request_in_pieces(daemon: ServerProcess, name: str) -> None:
    """The result is equal if the request is sent byte by byte."""
    wire = SHAPES[name] + SMUGGLED
    pieces = (bytes([byte]) for byte in wire)
    try:
        answer = exchange(daemon, *pieces)
    except ConnectionError:  # closed before the last byte was sent
        return
    assert statuses(answer) == [400]


LAST = b"GET /livez HTTP/1.0\r\n\r\n"  # after its answer the connection is closed
ODD: list[tuple[bytes, list[int]]] = [
    (get(b"/livez") + get(b"/livez") + LAST, [200, 200, 200]),
    (b"\r\n" + get(b"/livez") + LAST, [200, 200]),
    (get(b"http://elsewhere.test/livez") + LAST, [200, 200]),
    (post(CHUNKED, b'2;ext="a"\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n') + LAST, [201, 200]),
    (post(CHUNKED, b"0000000002\r\n{}\r\n0\r\n\r\n") + LAST, [201, 200]),
    (post(b"Content-Length: 2 \r\n", b"{}") + LAST, [201, 200]),
    (post(b"content-LENGTH:2\r\n", b"{}") + LAST, [201, 200]),
    (b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n" + SMUGGLED, [200]),
    (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n" + LAST, [404, 200]),
]


@pytest.mark.parametrize(("wire", "expected"), ODD, ids=lambda value: repr(value)[:60])
def test_odd_requests_that_are_valid(
    daemon: ServerProcess, wire: bytes, expected: list[int]
) -> None:
    """Valid requests are answered."""
    assert statuses(exchange(daemon, wire)) == expected


@pytest.mark.parametrize("name", SHAPES)
def test_a_smuggling_request_behind_a_good_one(daemon: ServerProcess, name: str) -> None:
    """The valid request is answered; then at most a 400 follows, never a smuggled request."""
    answer = exchange(daemon, get(b"/livez") + SHAPES[name] + SMUGGLED)

    assert statuses(answer) in ([200], [200, 400])
    assert b"\r\n\r\nOK" in answer


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize("split", [0, 60, 150, 165, 180, 200, 230], ids=str)
def test_an_offer_to_upgrade_is_declined(daemon: ServerProcess, split: int) -> None:
    """A body is never parsed as a request, however it is split into packets."""
    body = b'{"name": "h2c", "x": "' + b"y" * 50 + b'"}'
    length = b"Content-Length: %d\r\n" % len(body)
    wire = post(UPGRADE + length, body) + LAST

    answer = exchange(daemon, wire[:split], wire[split:])

    assert statuses(answer) == [201, 200]
    assert b"y" * 50 in answer
