"""What the daemons of these tests stand on."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.backend import Backend, FolderBackend, ServersBackend, servers
from support.export_places import BucketPlace, FolderPlace, Place
from support.postgresql import Server
from support.seaweedfs import SeaweedFS


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    """A database server of its own."""
    server = await to_thread(Server)
    await to_thread(server.start)
    yield server
    await to_thread(server.remove)


@pytest_asyncio.fixture
async def shared(s3: SeaweedFS) -> AsyncIterator[ServersBackend]:
    """A database and a bucket that any number of daemons can share."""
    async with servers(s3.endpoint) as backend:
        yield backend


@pytest.fixture(params=["folder", "servers"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Each kind of backend, in turn."""
    if request.param == "folder":
        return FolderBackend(tmp_path)
    found: ServersBackend = request.getfixturevalue("shared")
    return found


@pytest.fixture
def place(backend: Backend, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where exports go, of the kind of the backend."""
    if isinstance(backend, FolderBackend):
        return FolderPlace(tmp_path / "exports")
    server: SeaweedFS = request.getfixturevalue("s3")
    return BucketPlace(tmp_path, server.endpoint)
