"""Clones by real daemons: from one service to another over HTTP, and within a store."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
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
    """With all that is told of it, and to the byte, over a line that breaks twice: the rest is
    asked for, with the token, and nothing comes twice. The token is nowhere any more.
    """
    clouds.line.tears = [MIB, MIB]
    image_id = await clouds.there.create(name="debian", tags=["t"], min_disk=3, os_distro="debian")
    assert await clouds.there.put(image_id, DATA) == 204

    task = await clouds.fetch(image_id)

    assert task["status"] == "success", task["message"]
    assert clouds.line.torn == 2
    assert task["input"] == {"source_image_url": clouds.url_of(image_id)}
    clone_id = task["result"]["image_id"]
    clone = await clouds.here.show(clone_id)
    assert clone_id != image_id
    assert (clone["status"], clone["size"], clone["visibility"]) == ("active", len(DATA), "shared")
    assert (clone["name"], clone["tags"], clone["min_disk"]) == ("debian", ["t"], 3)
    assert clone["os_distro"] == "debian"
    assert await clouds.here.digest(clone_id) == hashlib.sha512(DATA).hexdigest()
    clouds.require_forgotten()


async def test_the_formats_of_the_operator(clouds: ServicePair) -> None:
    """The process that works on tasks has them from its start, and by a reload."""
    for daemon in (clouds.source, clouds.target):
        assert await daemon.end() == 0
        daemon.configure(images={"disk_formats": ["squashfs"]})
        await daemon.start()
    image_id = await clouds.there.create(disk_format="squashfs")
    assert await clouds.there.put(image_id, DATA) == 204

    task = await clouds.fetch(image_id)
    assert task["status"] == "success", task["message"]
    clone = await clouds.here.show(task["result"]["image_id"])
    assert clone["disk_format"] == "squashfs"

    clouds.target.configure(images={"disk_formats": ["raw"]})
    clouds.target.reload()

    async def is_reloaded() -> bool:
        return "config.reloaded" in clouds.target.log_text()

    await until(is_reloaded)
    message = (await clouds.fetch(image_id))["message"]
    assert "'disk_format' must be one of raw" in message


async def test_a_token_that_is_not_taken(clouds: ServicePair) -> None:
    """Nor none."""
    image_id = await clouds.there.create()
    assert await clouds.there.put(image_id, DATA) == 204

    for token in ("wrong", ""):
        message = (await clouds.fetch(image_id, token))["message"]
        assert message.endswith("failed (answer): it answered 401 Unauthorized.")
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


async def test_clones_within_a_store(tmp_path: Path) -> None:
    """They take no room. Each is whole without the others; the last lets go."""
    daemon, images = Daemon(tmp_path), tmp_path / "images"
    async with serving(daemon), Client(daemon.url) as client:
        source_id = await client.create()
        assert await client.put(source_id, DATA) == 204
        before = blocks_under(images)
        tasks = TaskClient(client)
        clone_id = (await tasks.do("clone", image_id=source_id))["result"]["image_id"]
        last_id = (await tasks.do("clone", image_id=clone_id))["result"]["image_id"]
        assert blocks_under(images) == before
        assert len(await daemon.backend.keys()) == 1

        for image_id in (source_id, last_id):
            assert await client.delete(image_id) == 204

        async def is_gone() -> bool:
            return [image["id"] for image in await client.list_all()] == [clone_id]

        await until(is_gone, "the source is still there")
        assert await client.digest(clone_id) == hashlib.sha512(DATA).hexdigest()
        assert await client.delete(clone_id) == 204
        await until(lambda: bytes_are_those_of(daemon, set()), "the bytes did not go with the last")


def blocks_under(folder: Path) -> int:
    """How many blocks of 512 bytes the files there have on disk."""
    return sum(path.stat().st_blocks for path in folder.rglob("*") if path.is_file())
