"""An upload, a daemon that is killed in the middle of it, and a client that sends only the rest."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import Daemon
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

FILE = os.urandom(6_000_000)
CUT = 4_000_000


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A running daemon."""
    running = Daemon(tmp_path, {"daemon": {"drain_timeout": "1s"}})
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


def begin(daemon: Daemon, image_id: str, *, announced: bool) -> socket.socket:
    """Send the first bytes of an upload."""
    line = socket.create_connection(("127.0.0.1", daemon.port))
    length = f"Content-Length: {len(FILE)}" if announced else "Transfer-Encoding: chunked"
    head = (
        f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: application/octet-stream\r\n{length}\r\n\r\n"
    )
    body = FILE[:CUT] if announced else b"%x\r\n" % len(FILE) + FILE[:CUT]
    line.sendall(head.encode() + body)
    return line


@pytest.mark.parametrize(
    ("announced", "end"),
    [(True, signal.SIGKILL), (False, signal.SIGTERM)],
    ids=["length-killed", "chunks-stopped"],
)
async def test_rest_after_a_daemon_that_ended(
    daemon: Daemon, announced: bool, end: signal.Signals
) -> None:
    """It remembers across its death, and across a restart in good order, what had come."""
    async with Client(daemon.url) as client:
        image_id = await client.create()
        line = begin(daemon, image_id, announced=announced)

        async def is_noted() -> bool:
            files = [path for path in daemon.folder.rglob("*") if image_id in path.name]
            return any(path.is_file() and path.stat().st_size >= 1_000_000 for path in files)

        await until(is_noted, "nothing of the upload arrives")
        await daemon.end(end)
        line.close()
    await daemon.start()
    async with Client(daemon.url) as client:
        await client.until_status(image_id, "queued")
        assert await client.put(image_id, FILE[CUT:]) == 409
        assert await client.put(image_id, FILE) == 204
        assert (await client.show(image_id))["size"] == len(FILE)
