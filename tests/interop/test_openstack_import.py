"""``openstack image import`` and ``stage``, unmodified, and ``task list``."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support import disk_images
from support.client import Client
from support.daemon import Daemon
from support.openstack import openstack
from support.origin import Origin

DISK = disk_images.raw() + os.urandom(1_000_000)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    """A server that the daemon may fetch from."""
    async with Origin(DISK, host="127.0.0.2").running() as origin:
        yield origin


@pytest_asyncio.fixture
async def daemon(tmp_path: Path, origin: Origin) -> AsyncIterator[Daemon]:
    """A running daemon."""
    fetch = {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]}
    running = Daemon(tmp_path, {"fetch": fetch})
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


@pytest.mark.parametrize("method", ["web-download", "glance-direct"])
async def test_imports_through_the_openstack_client(
    daemon: Daemon, origin: Origin, method: str
) -> None:
    """A record, perhaps staged data, and the import; its task is in the client's list."""
    file = daemon.folder / "disk.raw"
    file.write_bytes(DISK)
    async with Client(daemon.url) as client:
        image_id = await client.create()  # the command would take its own standard input for data
    more = ["--uri", origin.url]
    if method == "glance-direct":
        await openstack(daemon, "image", "stage", "--file", str(file), image_id)
        more = []

    await openstack(daemon, "image", "import", "--method", method, *more, image_id)

    async with Client(daemon.url) as client:
        await client.until_status(image_id, "active")
        assert await client.digest(image_id) == hashlib.sha512(DISK).hexdigest()
    (task,) = json.loads(await openstack(daemon, "image", "task", "list", "-f", "json"))
    assert (task["Type"], task["Status"]) == ("api_image_import", "success")
    shown = json.loads(await openstack(daemon, "image", "task", "show", "-f", "json", task["ID"]))
    assert shown["result"] == {"image_id": image_id}
