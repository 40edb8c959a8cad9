"""Aborted answers, about which uvicorn must log nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import cast

import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from imaged.api.resource import REQUEST_ID_SCOPE_KEY
from imaged.core.lifecycle import Status
from imaged.core.limits import MIB
from imaged.server.protocol import HttpConnection
from imaged.server.settings import ConnectionSettings
from support.server import RawConnection, serving
from support.service import OCTETS, Service
from support.settings import configured
from support.waiting import wait_until

SETTINGS = configured(ConnectionSettings)
LARGE = bytes(16 * MIB)


@pytest.fixture(autouse=True)
def _no_line_of_the_library(caplog: pytest.LogCaptureFixture) -> object:
    """No test of this module makes uvicorn log."""
    caplog.set_level(logging.WARNING)
    yield None
    assert not caplog.get_records("call")


def test_a_cancelled_upload_is_told_why(service: Service) -> None:
    """An immediate stop answers 502 with the logged request id, after the claim is released."""
    image_id = asyncio.run(service.create())
    with (
        capture_logs() as lines,
        serving(service.app, SETTINGS) as (port, server),
        RawConnection(port) as line,
    ):
        line.ask(f"PUT /v2/images/{image_id}/file", f"Content-Type: {OCTETS}", "Content-Length: 9")
        wait_until(lambda: service.image(image_id).status is Status.SAVING)
        server.should_exit = True
        status, headers, _ = line.read()
        assert (status, headers["connection"], headers["retry-after"]) == (502, "close", "5")
        assert headers["x-openstack-request-id"].startswith("req-")
        assert service.image(image_id).status is Status.QUEUED
    assert not [line for line in lines if line["log_level"] == "error"]


class Endless:
    """An application that sends until the client disconnects."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.saw_the_end = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client has disconnected."""
        del scope
        watching = asyncio.create_task(self._watch(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.has_begun.set()
        while not watching.done():
            await send({"type": "http.response.body", "body": b"more", "more_body": True})
            await asyncio.sleep(0.01)
        self.saw_the_end.set()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


def test_a_client_leaves_a_second_request_behind() -> None:
    """A disconnect reaches the running request, though another one waits."""
    app = Endless()
    with serving(app, SETTINGS) as (port, server):
        line = RawConnection(port)
        line.ask("GET /")
        app.has_begun.wait(10)
        line.ask("GET /")
        wait_until(
            lambda: any(
                cast("HttpConnection", one).pipeline for one in server.connections.connections
            )
        )
        line.hang_up()
        assert app.saw_the_end.wait(10)
        wait_until(lambda: not server.server_state.tasks)


class Large:
    """An application with answers larger than socket buffers."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer in one message."""
        del receive
        self.asked += 1
        scope[REQUEST_ID_SCOPE_KEY] = "req-1"
        headers = [(b"content-length", str(len(LARGE)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": LARGE})


@pytest.mark.parametrize("requests", [1, 2])
def test_a_stop_does_not_wait_for_a_client_that_does_not_read(requests: int) -> None:
    """Nor leave its connection open. It never takes its answer, so that a second request waits, and
    cannot be answered with the stop either.
    """
    app = Large()
    with serving(app, SETTINGS) as (port, server), RawConnection(port) as line:
        for _ in range(requests):
            line.ask("GET /")
        wait_until(lambda: app.asked == requests)
        server.should_exit = True
        wait_until(server.drained.is_set)
        assert not server.in_flight
