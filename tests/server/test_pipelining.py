"""Pipelining clients: a limited number of requests may wait, and memory stays bounded."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import cast

import pytest
from starlette.types import Receive, Scope, Send

from imaged.core.limits import MIB
from imaged.server.connections import CloseReason
from imaged.server.protocol import MAX_PIPELINED, HttpConnection
from imaged.server.settings import ConnectionSettings
from support.server import RawConnection, serving
from support.settings import configured
from support.waiting import wait_until

SETTINGS = configured(ConnectionSettings)
REQUEST = b"GET / HTTP/1.1\r\nHost: images.test\r\n\r\n"
OFFER = b"GET / HTTP/1.1\r\nHost: images.test\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
UPLOAD = b"PUT / HTTP/1.1\r\nHost: images.test\r\nContent-Length: %d\r\n\r\n" % (32 * MIB)


class Held:
    """An application that answers a number of requests and then blocks until released."""

    def __init__(self, answers: int = 0) -> None:
        self._answers = answers
        self._go_on = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.began = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OK."""
        del scope
        self._loop = asyncio.get_running_loop()
        await receive()  # as those do that listen for the end of the connection
        self._answers -= 1
        if self._answers < 0:
            self.began.set()
            await self._go_on.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"OK"})

    def go_on(self) -> None:
        """Release all requests."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._go_on.set)


@pytest.mark.parametrize("request_", [REQUEST, OFFER], ids=["plain", "offers to upgrade"])
def test_too_many_requests_at_a_time(request_: bytes) -> None:
    """Up to MAX_PIPELINED requests are answered; beyond that, only this connection is closed."""
    app = Held()
    with serving(app, SETTINGS) as (port, server), RawConnection(port) as line:
        line.socket.sendall(2000 * request_)
        wait_until(lambda: server.connections.ended[CloseReason.PIPELINED])
        assert app.began.wait(20)  # the connection may be closed before its first request begins
        app.go_on()
        with suppress(ConnectionResetError):  # much of what it sent was not read
            assert line.read_rest().count(b"200 OK") == 1 + MAX_PIPELINED
        with RawConnection(port) as other:
            other.ask("GET /")
            assert other.read()[0] == 200


def test_the_body_of_a_request_that_waits() -> None:
    """The server does not read further while requests wait, however many it answers."""
    app = Held(answers=MAX_PIPELINED - 1)
    with serving(app, SETTINGS) as (port, server), RawConnection(port) as line:
        line.socket.setblocking(False)
        sent = line.socket.send(MAX_PIPELINED * REQUEST + UPLOAD)
        sender = threading.Thread(target=_send_on, args=(line,), daemon=True)
        assert sent == len(MAX_PIPELINED * REQUEST + UPLOAD)
        line.socket.settimeout(20)
        sender.start()
        assert app.began.wait(20)
        connection = cast("HttpConnection", next(iter(server.connections.connections)))
        wait_until(lambda: connection.pipeline)
        assert connection.flow.read_paused
        assert len(connection.pipeline[0][0].body) <= 1 * MIB
        line.hang_up()
        app.go_on()
        sender.join(20)


def _send_on(line: RawConnection) -> None:
    with suppress(OSError):
        line.socket.sendall(bytes(32 * MIB))
