"""Imports by real daemons, over real HTTP, into folders and buckets."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from support import disk_images
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon
from support.origin import Origin
from support.task_client import TaskClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]
#: What the store has no part in.
on_a_folder = pytest.mark.parametrize("backend", ["folder"], indirect=True)

DISK = disk_images.raw() + os.urandom(12 * MIB)
HALF = 6 * MIB
UNREAD_BYTES = MIB // 2  # what had come when a connection broke may not have been read yet


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    """A server that the daemon may fetch from."""
    async with Origin(DISK, host="127.0.0.2").running() as origin:
        yield origin


@pytest_asyncio.fixture
async def daemon(backend: Backend, tmp_path: Path, origin: Origin) -> AsyncIterator[Daemon]:
    """One that may reach the server, and nothing else inside."""
    fetch = {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]}
    patient = {"lease": "8s", "renew_every": "500ms"}  # on busy machines
    daemon = Daemon(tmp_path, {"fetch": fetch, "claims": patient}, on=backend)
    await daemon.start()
    yield daemon
    await daemon.end(signal.SIGKILL)


def asked(origin: Origin, **changes: object) -> dict[str, object]:
    """The input of an import."""
    return {"import_from": origin.url, "import_from_format": "raw", **changes}


async def nothing_is_seen(client: Client, tasks: TaskClient, task_id: str) -> int:
    """Look at lists for as long as the task goes on, as an administrator; how often it was."""
    looks = 0
    while (await tasks.show(task_id))["status"] in {"pending", "processing"}:
        listed = await client.list_all()
        if (await tasks.show(task_id))["status"] in {"pending", "processing"}:
            assert listed == []
            looks += 1
    return looks


@on_a_folder
async def test_an_import_over_broken_connections(daemon: Daemon, origin: Origin) -> None:
    """It continues where it broke off; the image is not visible before all has passed."""
    origin.breaks = [HALF, 3 * MIB]
    checksum = f"sha256:{hashlib.sha256(DISK).hexdigest()}"
    async with Client(daemon.url) as client:
        tasks = TaskClient(client)
        task_id = await tasks.ask("import", **asked(origin, checksum=checksum))
        looks = await nothing_is_seen(client, tasks, task_id)
        task = await tasks.show(task_id)
        (image,) = await client.list_all()

        assert (task["status"], task["message"]) == ("success", None)
        assert task["result"] == {"image_id": image["id"]}
        assert looks > 0
        assert image["status"] == "active"
        assert await client.digest(image["id"]) == hashlib.sha512(DISK).hexdigest()
        assert "Range" not in origin.asked[0]
        second, third = (
            int(headers["Range"].removeprefix("bytes=").removesuffix("-"))
            for headers in origin.asked[1:]
        )
        assert HALF - UNREAD_BYTES <= second <= HALF
        assert second + 3 * MIB - UNREAD_BYTES <= third <= second + 3 * MIB


@pytest.mark.parametrize("backend", ["servers"], indirect=True)
async def test_an_import_outlives_its_daemon(daemon: Daemon, origin: Origin) -> None:
    """Killed in the middle of a fetch: the next life of it begins again, and ends it."""
    origin.hangs_after = HALF
    async with Client(daemon.url) as client:
        tasks = TaskClient(client)
        task_id = await tasks.ask("import", **asked(origin))
        await tasks.until_phase(task_id, "fetching")
        await daemon.end(signal.SIGKILL)
        origin.hangs_after = None
        origin.hang.set()
        await daemon.start()

        task = await tasks.end_of(task_id)

        assert (task["status"], task["message"]) == ("success", None)
        (image,) = await client.list_all()
        assert await client.digest(image["id"]) == hashlib.sha512(DISK).hexdigest()


@on_a_folder
async def test_an_import_from_a_location(daemon: Daemon, origin: Origin) -> None:
    """The bytes of an image that a client made come from where it says."""
    async with Client(daemon.url) as client:
        image_id = await client.create()
        path = f"/v2/images/{image_id}/locations"

        answer = await client.request("POST", path, json={"url": origin.url})

        assert answer == (202, b"")
        await client.until_status(image_id, "active", within_seconds=60)
        assert await client.digest(image_id) == hashlib.sha512(DISK).hexdigest()
