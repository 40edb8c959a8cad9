"""The real ``openstack`` command line, unmodified, without authentication."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support import disk_images
from support.client import Client
from support.daemon import Daemon
from support.openstack import openstack, typed
from support.origin import Origin
from support.page_claims import typed_in

DISK = disk_images.raw() + os.urandom(1_000_000)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    """A server that the daemon may fetch from."""
    async with Origin(DISK, host="127.0.0.2").running() as origin:
        yield origin


@pytest_asyncio.fixture
async def daemon(tmp_path: Path, origin: Origin) -> AsyncIterator[Daemon]:
    """A running daemon, and a file in its folder."""
    fetch = {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]}
    running = Daemon(tmp_path, {"fetch": fetch, "scrubber": {"delay": "1h"}})
    (tmp_path / "disk.raw").write_bytes(DISK)
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


async def told(daemon: Daemon, *arguments: str) -> Any:
    """What a command tells programs."""
    return json.loads(await openstack(daemon, "image", *arguments, "-f", "json"))


async def test_the_life_of_an_image_through_the_openstack_client(daemon: Daemon) -> None:
    """Create with a file, list, set, tag, deactivate, activate, show, save, delete."""
    source, target = daemon.folder / "disk.raw", daemon.folder / "target.raw"

    create = ["create", "--file", str(source), "--disk-format", "raw"]
    image = await told(daemon, *create, "--property", "os_distro=debian", "web")
    assert image["status"] == "active"
    assert image["size"] == len(DISK)
    assert image["checksum"] == hashlib.md5(DISK, usedforsecurity=False).hexdigest()
    assert [row["ID"] for row in await told(daemon, "list")] == [image["id"]]

    change = ["image", "set", "--name", "web 2", "--tag", "new", "--min-disk", "3", "--deactivate"]
    await openstack(daemon, *change, "--property", "colour=red", image["id"])
    shown = await told(daemon, "show", "web 2")
    assert (shown["status"], shown["tags"], shown["min_disk"]) == ("deactivated", ["new"], 3)
    assert shown["properties"]["colour"] == "red"

    await openstack(daemon, "image", "set", "--activate", image["id"])
    await openstack(daemon, "image", "save", "--file", str(target), image["id"])
    assert target.read_bytes() == DISK

    await openstack(daemon, "image", "delete", image["id"])
    async with Client(daemon.url) as client:
        assert await client.list_all() == []


async def test_a_refusal_reaches_its_user(daemon: Daemon) -> None:
    """The client shows our sentence, though it sends an empty Accept with an upload."""
    create = ["image", "create", "--file", str(daemon.folder / "disk.raw")]
    with pytest.raises(
        AssertionError, match=r"415: .*The data is raw, but 'disk_format' says qcow2"
    ):
        await openstack(daemon, *create, "--disk-format", "qcow2", "wrong")


async def test_an_import_as_the_page_says(daemon: Daemon, origin: Origin) -> None:
    """A record, and the import of a file at a URL; its task is in the client's list."""
    origin.body = disk_images.qcow2()
    (block,) = typed_in("tests/interop/test_openstack.py", "docs/how-to/import-images.md")
    create, bring, show = (step.command.removeprefix("$ openstack ") for step in block.steps)
    bring = bring.replace("https://images.example.net/debian-12.qcow2", origin.url)

    await typed(daemon, create)
    await typed(daemon, bring)
    async with Client(daemon.url) as client:
        (image,) = await client.list_all()
        await client.until_status(image["id"], "active")
        assert await client.digest(image["id"]) == hashlib.sha512(origin.body).hexdigest()
    assert "active" in await typed(daemon, show)
    (task,) = await told(daemon, "task", "list")
    assert (task["Type"], task["Status"]) == ("api_image_import", "success")
    assert (await told(daemon, "task", "show", task["ID"]))["result"] == {"image_id": image["id"]}


async def test_an_import_of_staged_data(daemon: Daemon) -> None:
    """A record, the data beside it, and the import."""
    async with Client(daemon.url) as client:
        image_id = await client.create()
        file = str(daemon.folder / "disk.raw")
        await openstack(daemon, "image", "stage", "--file", file, image_id)

        await openstack(daemon, "image", "import", "--method", "glance-direct", image_id)

        await client.until_status(image_id, "active")
        assert await client.digest(image_id) == hashlib.sha512(DISK).hexdigest()
