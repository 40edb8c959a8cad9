"""Exports by real daemons, to folders and buckets: once, whole, and whatever is killed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon
from support.export_places import Place
from support.task_client import TaskClient
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

DATA = random.Random(6).randbytes(24 * MIB)
LARGE_MIB = 80
SETTINGS = {"tasks": {"poll_every": "200ms"}, "log": {"level": "debug", "format": "json"}}


@pytest_asyncio.fixture
async def daemon(backend: Backend, place: Place, tmp_path: Path) -> AsyncIterator[Daemon]:
    """One that has a destination."""
    settings = {**SETTINGS, "exports.archive": place.settings}
    daemon = Daemon(tmp_path, on=backend, settings=settings)
    await daemon.start()
    yield daemon
    await daemon.end(signal.SIGKILL)


@pytest_asyncio.fixture
async def client(daemon: Daemon) -> AsyncIterator[Client]:
    """A client with images."""
    async with Client(daemon.url) as client:
        yield client


async def active(client: Client, data: bytes = DATA) -> str:
    """An image with data."""
    image_id = await client.create()
    assert await client.put(image_id, data) == 204
    return image_id


async def until_swept(place: Place, *names: str) -> None:
    """Wait until nothing else is there."""

    async def is_clean() -> bool:
        return await place.door.names() == {*names}

    await until(is_clean, "leftovers stay")


async def test_from_the_call_to_the_file(client: Client, place: Place) -> None:
    """Whole, told, and never replaced."""
    image_id = await active(client)
    asked = {"image_id": image_id, "export_to": "archive", "file_name": "a/b.raw"}

    task = await TaskClient(client).do("export", **asked)

    assert task["status"] == "success", task["message"]
    result: dict[str, Any] = task["result"]
    assert result["export_location"].endswith("/a/b.raw")
    assert result["size"] == len(DATA)
    assert result["checksum"] == hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert result["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    assert await place.door.read_raw("a/b.raw") == DATA
    await until_swept(place, "a/b.raw")
    again = {"type": "export", "input": asked}
    status, answer = await client.request("POST", "/v2/tasks", json=again)
    assert status == 400
    assert "there is a file of this name already" in answer.decode()


@pytest.mark.parametrize(
    "backend",
    [pytest.param("folder", marks=pytest.mark.nightly), "servers"],
    indirect=True,
)
async def test_memory_stays_flat(daemon: Daemon, client: Client, place: Place) -> None:
    """Whatever the size is, an export has as much of it in memory as an upload had."""
    piece = random.Random(7).randbytes(MIB)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(LARGE_MIB):
            yield piece
            await asyncio.sleep(0)

    image_id = await client.create()
    assert await client.put(image_id, body()) == 204
    tasks = TaskClient(client)
    assert (await tasks.do("verify", image_id=image_id))["status"] == "success"
    before = daemon.peak_memory_mib()  # with a worker

    task = await tasks.do("export", image_id=image_id, export_to="archive")

    assert task["status"] == "success", task["message"]
    assert daemon.peak_memory_mib() - before < LARGE_MIB / 2
    await until_swept(place, f"{image_id}.raw")


@pytest.mark.system
async def test_converted(client: Client, place: Place) -> None:
    """Into a format that the reader knows again, by the package qemu-utils."""
    assert shutil.which("qemu-img"), "install the Debian package qemu-utils"
    data = bytes(MIB) + random.Random(8).randbytes(MIB)
    image_id = await active(client, data)

    task = await TaskClient(client).do(
        "export", image_id=image_id, export_to="archive", export_format="qcow2"
    )

    assert task["status"] == "success", task["message"]
    found = await place.door.read_raw(f"{image_id}.qcow2")
    assert found is not None
    assert found.startswith(b"QFI\xfb")
    assert task["result"]["checksum"] == hashlib.md5(found, usedforsecurity=False).hexdigest()
    assert task["result"]["size"] == len(found)
    await until_swept(place, f"{image_id}.qcow2")
