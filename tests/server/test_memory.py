"""How many bytes one connection may hold in memory; the limit of connections multiplies it."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from contextlib import ExitStack
from datetime import timedelta

import pytest
from starlette.types import Receive, Scope, Send

from imaged.core.block import SMALLEST_BLOCK_BYTES
from imaged.core.limits import KIB, MIB
from imaged.server.connections import CloseReason
from imaged.server.protocol import HttpConnection
from imaged.server.server import HttpServer
from imaged.server.settings import ConnectionSettings, MinimumRate
from support.server import RawConnection, serving
from support.service import BUDGET_BYTES, OCTETS, Service, token_of
from support.settings import configured
from support.waiting import wait_until

HIGH_WATER_BYTES = 64 * KIB  # at which uvicorn pauses reading and writing
ONE_READ_BYTES = 256 * KIB  # of one read of the event loop
MANY = 20

IDLE = configured(ConnectionSettings, min_rate=configured(MinimumRate, bytes_per_second=0))


def connections_of(server: HttpServer) -> list[HttpConnection]:
    """Return the open connections."""
    return [one for one in server.connections._open if isinstance(one, HttpConnection)]


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that never reads."""
    del scope, receive, send
    await asyncio.Event().wait()


def fill(line: RawConnection) -> None:
    """Send until the peer accepts no more."""
    line.socket.setblocking(False)
    stalled = 0
    while stalled < 5:
        try:
            line.socket.send(bytes(MIB))
            stalled = 0
        except BlockingIOError:
            stalled += 1
            threading.Event().wait(0.01)


def test_unread_bodies_are_bounded() -> None:
    """A connection buffers at most one high-water mark and one read."""
    with serving(deaf, IDLE) as (port, server), ExitStack() as stack:
        for _ in range(MANY):
            line = stack.enter_context(RawConnection(port))
            line.ask("PUT /", f"Content-Length: {1000 * MIB}")
            fill(line)
        held = [len(one.cycle.body) for one in connections_of(server)]
        assert len(held) == MANY
        assert all(one.flow.read_paused for one in connections_of(server))
        assert 0 < max(held) <= HIGH_WATER_BYTES + ONE_READ_BYTES


@pytest.fixture
def full(service: Service) -> str:
    """An image larger than all buffers between server and client."""
    return asyncio.run(service.create_active(bytes(48 * MIB)))


def download(port: int, image_id: str) -> socket.socket:
    """Request the data with a small receive buffer, and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * KIB)
    client.connect(("127.0.0.1", port))
    token = "".join(f"{name}: {text}\r\n" for name, text in token_of("alice").items())
    head = f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: a\r\n{token}\r\n"
    client.sendall(head.encode())
    return client


def test_unread_answers_are_bounded(service: Service, full: str) -> None:
    """Unread data counts in the transfer budget, which shrinks the blocks."""
    with serving(service.app, IDLE) as (port, server), ExitStack() as stack:
        for _ in range(MANY * 4):
            stack.enter_context(download(port, full))
        wait_until(lambda: sum(one.flow.write_paused for one in open_ones(server)) == MANY * 4)
        held_bytes = sum(one._transport.buffered_bytes for one in connections_of(server))
        lent_bytes = BUDGET_BYTES - service.budget.free_bytes
        waiting_bytes = MANY * 4 * SMALLEST_BLOCK_BYTES  # at the least: the chunks behind those
        assert 0 < held_bytes <= lent_bytes - waiting_bytes
        assert lent_bytes <= BUDGET_BYTES + 2 * waiting_bytes


def open_ones(server: HttpServer) -> list[HttpConnection]:
    """Return the connections with a transport."""
    return [one for one in connections_of(server) if one.flow is not None]


def test_uploads_that_stall(service: Service) -> None:
    """Every received byte is in the store or in the budget, in partial blocks too."""
    uploads, sent_bytes = MANY * 2, MIB - 1
    with serving(service.app, IDLE) as (port, _), ExitStack() as stack:
        for _ in range(uploads):
            image_id = asyncio.run(service.create())
            line = stack.enter_context(RawConnection(port))
            path = f"PUT /v2/images/{image_id}/file"
            line.ask(path, f"Content-Type: {OCTETS}", f"Content-Length: {2 * MIB}")
            line.socket.sendall(bytes(sent_bytes))
        # not "==": the store has the last block of each in its hands while it waits for more
        wait_until(lambda: written(service) + lent(service) >= uploads * sent_bytes)
        assert BUDGET_BYTES // 4 < lent(service) <= BUDGET_BYTES + uploads * SMALLEST_BLOCK_BYTES
    gc.collect()  # tracebacks of what was cancelled hold blocks, in cycles
    wait_until(lambda: lent(service) == 0)


def written(service: Service) -> int:
    """Return the stored bytes of uploads in progress."""
    return sum(len(data) for data in service.bytes.partial.values())


def lent(service: Service) -> int:
    """Return the bytes in flight."""
    return BUDGET_BYTES - service.budget.free_bytes


def read_all(client: socket.socket) -> None:
    """Read until the connection closes."""
    while client.recv(MIB):
        pass


def test_a_reader_that_does_not_read(service: Service, full: str) -> None:
    """A slow reader is disconnected, and its memory is freed."""
    rate = MinimumRate(1 * KIB, timedelta(milliseconds=500))
    settings = configured(ConnectionSettings, min_rate=rate)
    with (
        serving(service.app, settings, check_interval_seconds=0.1) as (port, server),
        download(port, full) as client,
    ):
        wait_until(lambda: server.connections.ended == {CloseReason.SLOW_READER: 1})
        wait_until(lambda: not len(server.connections))
        wait_until(lambda: not server.server_state.tasks)
        assert lent(service) == 0
        with pytest.raises(ConnectionError):
            read_all(client)


def test_a_reader_that_is_slow_but_reads(service: Service, full: str) -> None:
    """A reader at the minimum rate is not disconnected: acknowledged bytes count."""
    rate = MinimumRate(1 * KIB, timedelta(seconds=1))
    settings = configured(ConnectionSettings, min_rate=rate)
    with (
        serving(service.app, settings, check_interval_seconds=0.1) as (port, server),
        download(port, full) as client,
    ):
        for _ in range(100):  # several windows
            assert client.recv(4 * KIB)
            threading.Event().wait(0.04)
        assert not server.connections.ended
