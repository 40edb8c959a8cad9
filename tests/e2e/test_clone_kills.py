"""Clones that are broken off, by SIGKILL or by their owner: whole in the end, or nothing at all."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from imaged.core.place_marker import MARKER_NAME
from imaged.stores.filesystem.self_test import SELF_TEST_PREFIX
from support.backdoor import bytes_are_those_of
from support.client import Client
from support.daemon import Daemon, until
from support.service_pair import ServicePair, service_pair
from support.task_client import TaskClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

DATA = os.urandom(3 * MIB)


@pytest_asyncio.fixture
async def clouds(tmp_path: Path) -> AsyncIterator[ServicePair]:
    """Both are there."""
    async with service_pair(tmp_path) as clouds:
        yield clouds


@pytest.mark.parametrize(
    ("phase", "least_bytes"), [("asking the other service", 0), ("fetching", 0), ("fetching", MIB)]
)
async def test_a_kill_in_the_middle(clouds: ServicePair, phase: str, least_bytes: int) -> None:
    """The next life of the worker begins anew, with the token, and one image comes of it."""
    image_id = await clouds.there.create()
    assert await clouds.there.put(image_id, DATA) == 204
    clouds.line.pause_seconds = 0.01
    task_id, tasks = await clouds.begin(image_id), TaskClient(clouds.here)

    async def is_there() -> bool:
        begun = [event["phase"] for event in clouds.target.events() if "phase" in event]
        progress = (await tasks.show(task_id))["progress"] or {}
        return phase in begun and (progress.get("done_bytes") or 0) >= least_bytes

    await until(is_there, f"{phase} did not come")
    await clouds.target.end(signal.SIGKILL)
    clouds.line.pause_seconds = 0
    await clouds.target.start()

    task = await tasks.end_of(task_id)
    assert task["status"] == "success", task["message"]
    clone_id = task["result"]["image_id"]
    assert await clouds.here.digest(clone_id) == hashlib.sha512(DATA).hexdigest()
    assert [image["id"] for image in await clouds.here.list_all()] == [clone_id]

    async def is_clean() -> bool:
        return await bytes_are_those_of(clouds.target, {clone_id})

    await until(is_clean, "bytes of the first attempt were left behind")
    clouds.require_forgotten()


async def test_cancelled_in_the_middle(clouds: ServicePair) -> None:
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


async def test_a_kill_between_two_stores(tmp_path: Path) -> None:
    """The copy is whole in the end, and the only one there."""
    other = tmp_path / "other"
    other.mkdir()
    store = {"type": "filesystem", "path": str(other), "min_free": "0"}
    (tmp_path / "daemon").mkdir()
    daemon = Daemon(tmp_path / "daemon", {"stores.other": store})
    await daemon.start()
    try:
        async with Client(daemon.url) as client:
            data, tasks = os.urandom(32 * MIB), TaskClient(client)
            source_id = await client.create()
            assert await client.put(source_id, data) == 204
            task_id = await tasks.ask("clone", image_id=source_id, store="other")

            async def has_begun() -> bool:
                return bool(blobs(other))

            await until(has_begun, "no byte was copied")
            await daemon.end(signal.SIGKILL)
            await daemon.start()

            task = await tasks.end_of(task_id)
            assert task["status"] == "success", task["message"]
            clone = await client.show(task["result"]["image_id"])
            assert (clone["stores"], clone["size"]) == ("other", len(data))
            assert await client.digest(clone["id"]) == hashlib.sha512(data).hexdigest()

            async def is_alone() -> bool:
                return [name[:36] for name in blobs(other)] == [clone["id"]]

            await until(is_alone, "bytes of the first attempt were left behind")
    finally:
        await daemon.end(signal.SIGKILL)


def blobs(folder: Path) -> list[str]:
    """The names of blobs, whole or not: of all but what a start rehearses."""
    names = (path.name for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith((SELF_TEST_PREFIX, MARKER_NAME))]
