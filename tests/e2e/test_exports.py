"""Exports by real daemons, to folders and buckets: once, whole, and whatever is killed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
import pytest_asyncio

from contracts.export_s3 import ExportBackdoor
from contracts.store_bucket import settings_for
from exports.test_filesystem import FolderBackdoor
from imaged.core.limits import MIB
from support.backend import Backend, FolderBackend
from support.client import Client
from support.daemon import Daemon
from support.seaweedfs import ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFS
from support.task_client import TaskClient
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

DATA = random.Random(6).randbytes(24 * MIB)
LARGE_MIB = 96
SETTINGS = {"tasks": {"poll_every": "200ms"}, "log": {"level": "debug", "format": "json"}}


class Place(Protocol):
    """Where exports go, by its settings and its back door."""

    @property
    def settings(self) -> Mapping[str, object]:
        """The table [exports.archive]."""
        ...

    @property
    def door(self) -> FolderBackdoor | ExportBackdoor:
        """The back door."""
        ...


class FolderPlace:
    """A folder."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.settings = {"type": "filesystem", "path": str(path), "min_free": "0"}
        self.door = FolderBackdoor(path)


class BucketPlace:
    """A folder of the bucket that the images may be in too."""

    def __init__(self, path: Path, endpoint: str) -> None:
        prefix = f"exports/{uuid4().hex}"
        for name, key in (("access", ACCESS_KEY), ("secret", SECRET_KEY)):
            (path / f"{name}.key").write_text(key)
        self.settings = {
            "type": "s3",
            "endpoint": endpoint,
            "bucket": BUCKET,
            "prefix": prefix,
            "part_size": "5MiB",
            "access_key_file": str(path / "access.key"),
            "secret_key_file": str(path / "secret.key"),
        }
        self.door = ExportBackdoor(settings_for(endpoint, prefix=prefix))


@pytest.fixture(params=["folder", "servers"])
def kind(request: pytest.FixtureRequest) -> str:
    """What images are in, and what they are exported to: each kind, in turn."""
    which: str = request.param
    return which


@pytest.fixture
def backend(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Where images are."""
    if kind == "folder":
        return FolderBackend(tmp_path)
    found: Backend = request.getfixturevalue("shared")
    return found


@pytest.fixture
def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where exports go."""
    if kind == "folder":
        return FolderPlace(tmp_path / "exports")
    server: SeaweedFS = request.getfixturevalue("s3")
    return BucketPlace(tmp_path, server.endpoint)


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


async def test_cancelled_in_the_middle(client: Client, place: Place) -> None:
    """Nothing is left; or it was too late, and the file is whole."""
    image_id, tasks = await active(client), TaskClient(client)
    task_id = await tasks.ask("export", image_id=image_id, export_to="archive", file_name="c.raw")

    await client.request("POST", f"/v2/tasks/{task_id}/actions/cancel")

    task = await tasks.end_of(task_id)
    if task["status"] == "failure":
        assert "cancelled" in task["message"]
        await until_swept(place)
    else:
        await until_swept(place, "c.raw")


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


async def test_the_configuration_is_checked(
    daemon: Daemon, place: Place, kind: str, tmp_path: Path, backend: Backend
) -> None:
    """A destination inside a store is refused, by both names; one that is missing is told."""
    code, output, errors = await daemon.command("check-config")
    assert code == 0, output + errors
    store, inside = backend.sections[f"stores.{backend.store}"], dict(place.settings)
    if kind == "servers":
        inside["prefix"] = f"{store['prefix']}/exports"
    else:
        inside["path"] = f"{store['path']}/exports"
    daemon.configure(**{"exports.archive": inside})

    code, output, errors = await daemon.command("check-config")

    assert code != 0
    assert f"the destination archive and the store {backend.store}" in output + errors
    missing = {"path": str(tmp_path / "no")} if kind == "folder" else {"bucket": "missing"}
    daemon.configure(**{"exports.archive": {**place.settings, **missing}})

    code, output, errors = await daemon.command("check-config")

    assert code != 0
    assert "exports.archive" in output + errors


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
