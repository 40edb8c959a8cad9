"""The real ``openstack`` command line, unmodified, without authentication."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import Daemon
from support.openstack import openstack

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A running daemon."""
    running = Daemon(tmp_path, {"scrubber": {"delay": "1h"}})
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


async def test_the_life_of_an_image_through_the_openstack_client(daemon: Daemon) -> None:
    """Create with a file, show, list, set, tag, save, deactivate, activate, delete."""
    data = os.urandom(3_000_001)
    source, target = daemon.folder / "source.raw", daemon.folder / "target.raw"
    source.write_bytes(data)

    create = ["image", "create", "--file", str(source), "--disk-format", "raw", "-f", "json"]
    image = json.loads(await openstack(daemon, *create, "--property", "os_distro=debian", "web"))
    assert image["status"] == "active"
    assert image["size"] == len(data)
    assert image["checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()

    listed = json.loads(await openstack(daemon, "image", "list", "-f", "json"))
    assert [row["ID"] for row in listed] == [image["id"]]

    change = ["image", "set", "--name", "web 2", "--tag", "new", "--min-disk", "3"]
    await openstack(daemon, *change, "--property", "colour=red", image["id"])
    shown = json.loads(await openstack(daemon, "image", "show", "-f", "json", "web 2"))
    assert shown["tags"] == ["new"]
    assert shown["min_disk"] == 3
    assert shown["properties"]["colour"] == "red"

    await openstack(daemon, "image", "set", "--deactivate", image["id"])
    await openstack(daemon, "image", "set", "--activate", image["id"])
    await openstack(daemon, "image", "save", "--file", str(target), image["id"])
    assert target.read_bytes() == data

    await openstack(daemon, "image", "delete", image["id"])
    async with Client(daemon.url) as client:
        assert await client.list_all() == []
