"""Clones by real daemons: from one service to another over HTTP, and within a store."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from imaged.catalogs.connect import open_catalog
from imaged.core.blob import make_key
from imaged.core.claim import InstanceId
from imaged.core.image import Content, Image, Location
from imaged.core.limits import GIB, MIB
from imaged.core.uploading import begin_upload, store_data
from imaged.services.claims import Claims, ClaimSettings
from support.backdoor import bytes_are_those_of
from support.client import Client
from support.daemon import Daemon
from support.service_pair import SOURCE_TOKEN, ServicePair, service_pair, serving
from support.task_client import TaskClient
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

DATA = os.urandom(3 * MIB)


@pytest_asyncio.fixture
async def clouds(tmp_path: Path) -> AsyncIterator[ServicePair]:
    """Both are there."""
    async with service_pair(tmp_path) as clouds:
        yield clouds


async def test_an_image_of_another_cloud(clouds: ServicePair) -> None:
    """With all that is told of it, and to the byte; the token is nowhere any more."""
    image_id = await clouds.there.create(name="debian", tags=["t"], min_disk=3, os_distro="debian")
    assert await clouds.there.put(image_id, DATA) == 204

    task = await clouds.fetch(image_id)

    assert task["status"] == "success", task["message"]
    assert task["input"] == {"source_image_url": clouds.url_of(image_id)}
    clone_id = task["result"]["image_id"]
    clone = await clouds.here.show(clone_id)
    assert clone_id != image_id
    assert (clone["status"], clone["size"], clone["visibility"]) == ("active", len(DATA), "shared")
    assert (clone["name"], clone["tags"], clone["min_disk"]) == ("debian", ["t"], 3)
    assert clone["os_distro"] == "debian"
    assert await clouds.here.digest(clone_id) == hashlib.sha512(DATA).hexdigest()
    clouds.require_forgotten()


async def test_a_line_that_breaks(clouds: ServicePair) -> None:
    """Twice in the middle: the rest is asked for, with the token, and nothing comes twice."""
    image_id = await clouds.there.create()
    assert await clouds.there.put(image_id, DATA) == 204
    clouds.line.tears = [MIB, MIB]

    task = await clouds.fetch(image_id)

    assert task["status"] == "success", task["message"]
    assert clouds.line.torn == 2
    digest = await clouds.here.digest(task["result"]["image_id"])
    assert digest == hashlib.sha512(DATA).hexdigest()


async def test_bytes_that_are_damaged_there(clouds: ServicePair) -> None:
    """The failure says so; no image is made, and no byte stays. The other service sends them, as
    those do that do not verify what they read.
    """
    assert await clouds.source.end() == 0
    clouds.source.configure(downloads={"verify": False})
    await clouds.source.start()
    image_id = await clouds.there.create()
    assert await clouds.there.put(image_id, DATA) == 204
    (key,) = await clouds.source.backend.keys()
    with (clouds.source.folder / "images" / key).open("r+b") as file:
        file.seek(MIB)
        file.write(b"damage")

    task = await clouds.fetch(image_id)

    assert task["status"] == "failure"
    host = f"127.0.0.1:{clouds.line.port}"
    assert task["message"].startswith(f"Fetching from {host} failed (body): The sha512 of the data")
    assert await clouds.here.list_all() == []

    async def nothing_left() -> bool:
        return not await clouds.target.backend.keys()

    await until(nothing_left, "bytes were left behind")
    clouds.require_forgotten()


async def test_a_token_that_is_not_taken(clouds: ServicePair) -> None:
    """Nor none; nor an image that is deactivated there."""
    image_id = await clouds.there.create()
    assert await clouds.there.put(image_id, DATA) == 204

    for token in ("wrong", ""):
        message = (await clouds.fetch(image_id, token))["message"]
        assert message.endswith("failed (answer): it answered 401 Unauthorized.")
    unknown = (await clouds.fetch(str(uuid4())))["message"]
    assert unknown.endswith("failed (answer): it answered 404 Not Found.")
    path = f"/v2/images/{image_id}/actions/deactivate"
    assert (await clouds.there.request("POST", path))[0] == 204
    message = (await clouds.fetch(image_id))["message"]
    assert message.endswith("failed (answer): the image is deactivated there, and not active.")
    clouds.require_forgotten()


async def test_without_a_place_for_the_key(clouds: ServicePair) -> None:
    """A token is refused rather than kept as it is; the log says where the key should be."""
    missing = clouds.target.folder / "no such folder" / "task.key"
    assert await clouds.target.end() == 0
    clouds.target.configure(tasks={"key_file": str(missing)})
    await clouds.target.start()

    given = {"source_image_url": clouds.url_of(str(uuid4())), "source_token": SOURCE_TOKEN}
    body = {"type": "clone", "input": given}
    status, answer = await clouds.here.request("POST", "/v2/tasks", json=body)

    assert status == 503
    assert b"operator" in answer
    assert str(missing).encode() not in answer
    assert str(missing) in clouds.target.log_text()
    assert json.loads((await clouds.here.request("GET", "/v2/tasks"))[1])["tasks"] == []
    clouds.require_forgotten()


async def test_a_large_image_within_a_store(tmp_path: Path) -> None:
    """A clone of 4 GiB takes no room. Either is whole without the other; the last lets go."""
    daemon = Daemon(tmp_path)
    source_id = await plant(daemon, 4 * GIB)
    images = tmp_path / "images"
    async with serving(daemon), Client(daemon.url) as client:
        before = blocks_under(images)
        tasks = TaskClient(client)
        task = await tasks.do("clone", image_id=source_id)
        assert task["status"] == "success", task["message"]
        clone_id = task["result"]["image_id"]
        last_id = (await tasks.do("clone", image_id=clone_id))["result"]["image_id"]
        assert blocks_under(images) == before
        assert len(await daemon.backend.keys()) == 1

        for image_id in (source_id, last_id):
            assert await client.delete(image_id) == 204

        async def is_gone() -> bool:
            return [image["id"] for image in await client.list_all()] == [clone_id]

        await until(is_gone, "the source is still there")
        part = {"Range": f"bytes={4 * GIB - 9}-"}
        path = f"/v2/images/{clone_id}/file"
        assert await client.request("GET", path, headers=part) == (206, b"last byte")
        assert await client.delete(clone_id) == 204

        async def nothing_left() -> bool:
            return not await daemon.backend.keys()

        await until(nothing_left, "the bytes did not go with the last image")


async def plant(daemon: Daemon, size_bytes: int) -> str:
    """An image whose bytes are a hole, written to the catalog as an upload writes it."""
    catalog = await open_catalog(f"sqlite:///{daemon.folder / 'catalog.db'}")
    image = Image(id=str(uuid4()), owner="admin", disk_format="raw", container_format="bare")
    location = Location("local", make_key(image.id, uuid4()), size_bytes)
    path = daemon.folder / "images" / location.key
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)
        file.seek(-9, os.SEEK_END)
        file.write(b"last byte")
    claims = Claims(
        catalog, InstanceId("planter"), ClaimSettings(timedelta(60), timedelta(seconds=10))
    )
    try:
        await catalog.add_image(image)
        async with claims.on_image(image.id, begin_upload(location)) as work:
            await work.finish(store_data(Content(size_bytes, "0" * 32, "sha512", "0" * 128)))
    finally:
        await catalog.close()
    return image.id


def blocks_under(folder: Path) -> int:
    """How many blocks of 512 bytes the files there have on disk."""
    return sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file())


async def test_a_clone_that_is_cancelled_in_the_middle(clouds: ServicePair) -> None:
    """At once; nothing is left, and the token is forgotten."""
    image_id = await clouds.there.create()
    assert await clouds.there.put(image_id, DATA) == 204
    clouds.line.pause_seconds = 0.01
    task_id, tasks = await clouds.begin(image_id), TaskClient(clouds.here)
    await tasks.until_phase(task_id, "fetching")

    assert (await tasks.cancel(task_id))["status"] == "failure"

    async def is_clean() -> bool:
        return await bytes_are_those_of(clouds.target, set())

    await until(is_clean, "bytes were left behind")
    assert await clouds.here.list_all() == []
    clouds.require_forgotten()
