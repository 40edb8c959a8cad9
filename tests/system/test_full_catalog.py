"""A catalog on a disk that is full: a real one, of a size that a test can fill."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.catalogs.connect import migrate_catalog
from support.client import Client
from support.daemon import Daemon
from support.postgresql import Server, database_url, execute
from support.waiting import until

pytestmark = [pytest.mark.system, pytest.mark.asyncio]

DATA = os.urandom(1_000_000)
#: Properties that a database cannot make smaller.
LONG = {f"p{number}": random.Random(number).randbytes(10_000).hex() for number in range(3)}


@pytest.fixture
def disk() -> Iterator[Path]:
    """A filesystem of its own, which the account of a database's server can reach."""
    path = Path(tempfile.mkdtemp(prefix="imaged-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    path.rmdir()


@asynccontextmanager
async def sqlite(disk: Path) -> AsyncIterator[str]:
    """A file on it."""
    yield f"sqlite:///{disk / 'catalog.db'}"


@asynccontextmanager
async def postgresql(disk: Path) -> AsyncIterator[str]:
    """The tables of a database on it; the server's log of changes is elsewhere."""
    space = disk / "tablespace"
    space.mkdir()
    shutil.chown(space, "nobody")  # as whom the server runs
    server = Server()
    server.start()
    try:
        await execute(server.url, f"CREATE TABLESPACE small LOCATION '{space}'")
        await execute(server.url, "CREATE DATABASE imaged TEMPLATE template0 TABLESPACE small")
        url = database_url(server.url, "imaged")
        await migrate_catalog(url)
        yield url
    finally:
        server.remove()


@pytest_asyncio.fixture(params=[sqlite, postgresql], ids=["sqlite", "postgresql"])
async def daemon(
    request: pytest.FixtureRequest, disk: Path, tmp_path: Path
) -> AsyncIterator[Daemon]:
    """With its catalog there, and everything else elsewhere."""
    async with request.param(disk) as url:
        daemon = Daemon(tmp_path, {"catalog": {"url": url}})
        await daemon.start()
        yield daemon
        await daemon.end()


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def test_a_full_disk_is_noticed_and_forgiven(daemon: Daemon, disk: Path) -> None:
    """/readyz and doctor name it, clients are told that it passes, and what was stored is read.
    When there is room again, all is well without a restart, and nothing is lost.
    """
    filler = disk / "filler"
    async with Client(daemon.url) as client:
        kept, waits = await client.create(name="kept"), await client.create(name="waits")
        assert await client.put(kept, DATA) == 204
        made, refusals = [kept, waits], list[bytes]()
        fill(filler)

        async def is_noticed() -> bool:
            status, said = await client.request("POST", "/v2/images", json={"name": "n", **LONG})
            if status == 201:
                made.append(json.loads(said)["id"])
            else:
                refusals.append(said)
            status, said = await client.request("GET", "/readyz")
            return status == 503 and b"catalog" in said

        await until(is_noticed, "the daemon does not miss its disk")
        (refusal,) = {*refusals}
        assert b'"code":"503 Service Unavailable"' in refusal
        assert b"Please try again later." in refusal
        _, output, errors = await daemon.command("doctor")
        assert "disk is full" in output + errors
        assert await client.digest(kept) == hashlib.sha512(DATA).hexdigest()

        filler.unlink()
        await daemon.wait_ready()
        assert await client.put(waits, DATA) == 204
        assert {image["id"] for image in await client.list_all()} == {*made}
        for image_id in (kept, waits):
            assert await client.digest(image_id) == hashlib.sha512(DATA).hexdigest()
