"""A client that shuts its sending side (RFC 9112, section 9.6) still reads its answers."""

from __future__ import annotations

import asyncio
import socket

import pytest

from imaged.core.lifecycle import Status
from imaged.server.settings import ConnectionSettings
from support.server import RawConnection, serving
from support.service import OCTETS, Service
from support.settings import configured
from support.waiting import wait_until

SETTINGS = configured(ConnectionSettings)
DATA = bytes(range(256)) * 4096 * 8  # more than socket buffers hold
UNFINISHED_BODY = (
    b"POST /v2/images HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 2\r\n\r\n{"
)


def shut(line: RawConnection) -> None:
    """Shut down the sending side."""
    line.socket.shutdown(socket.SHUT_WR)


def test_a_whole_request_is_answered(service: Service) -> None:
    """The answer has ``Connection: close``, and the connection is closed after it."""
    with serving(service.app, SETTINGS) as (port, server):
        created = "Content-Type: application/json", "Content-Length: 2"
        for request, headers, body, status in (
            ("GET /livez", (), b"", 200),
            ("GET /v2/images", (), b"", 200),
            ("PUT /nope", (), b"", 404),
            ("POST /v2/images", created, b"{}", 201),
        ):
            with RawConnection(port) as line:
                line.ask(request, *headers, body=body)
                shut(line)
                answered, told, _ = line.read()
                assert (answered, told.get("connection", "close")) == (status, "close")
                assert line.read_rest() == b""
        wait_until(lambda: not len(server.connections))


@pytest.mark.parametrize("rest", [b"GET /li", UNFINISHED_BODY], ids=["header", "body"])
def test_requests_behind_each_other_are_answered(service: Service, rest: bytes) -> None:
    """All complete requests are answered; an incomplete one is ignored."""
    image_id = asyncio.run(service.create_active(DATA))
    with serving(service.app, SETTINGS) as (port, _), RawConnection(port) as line:
        line.ask(f"GET /v2/images/{image_id}/file")
        line.ask("GET /livez")
        line.ask("GET /livez", body=rest)
        shut(line)
        answers = [line.read() for _ in range(3)]
        assert [status for status, *_ in answers] == [200, 200, 200]
        assert answers[0][2] == DATA
        assert line.read_rest() == b""
    assert [*service.facts.images] == [image_id]


@pytest.mark.parametrize("is_shut", [True, False])
def test_garbage_behind_a_request_does_not_cut_its_answer(
    service: Service, *, is_shut: bool
) -> None:
    """Malformed data and a half-close after a request neither truncate nor follow its answer."""
    image_id = asyncio.run(service.create_active(DATA))
    with serving(service.app, SETTINGS) as (port, _), RawConnection(port) as line:
        line.ask(f"GET /v2/images/{image_id}/file", body=b"\0garbage\r\n\r\n")
        if is_shut:
            shut(line)
        status, _, body = line.read()
        assert (status, body == DATA) == (200, True)
        assert line.read_rest() == b""


@pytest.mark.parametrize("length", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_an_upload_that_is_not_whole_is_given_back(service: Service, length: str) -> None:
    """A half-close within a body aborts the upload; the image accepts another one."""
    image_id = asyncio.run(service.create())
    with serving(service.app, SETTINGS) as (port, server), RawConnection(port) as line:
        line.ask(f"PUT /v2/images/{image_id}/file", f"Content-Type: {OCTETS}", length)
        wait_until(lambda: service.image(image_id).status is Status.SAVING)
        shut(line)
        wait_until(lambda: service.image(image_id).status is Status.QUEUED)
        wait_until(lambda: not len(server.connections))


def test_a_reader_that_leaves_a_download_is_noticed(service: Service) -> None:
    """A fully closed connection looks half-closed until the server writes."""
    image_id = asyncio.run(service.create_active(DATA))
    with serving(service.app, SETTINGS) as (port, server):
        line = RawConnection(port)
        line.ask(f"GET /v2/images/{image_id}/file")
        assert line.read_head()[0] == 200
        shut(line)
        line.hang_up()
        wait_until(lambda: not len(server.connections))
        wait_until(lambda: not server.server_state.tasks)
