"""A catalog on a disk that is full: a real one, of a size that a test can fill."""

from __future__ import annotations

import subprocess
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import IMAGED, Daemon, until

pytestmark = [pytest.mark.system, pytest.mark.asyncio]

LONG = "x" * 60_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest_asyncio.fixture
async def daemon(disk: Path, tmp_path: Path) -> AsyncIterator[Daemon]:
    """With its catalog there, and everything else elsewhere."""
    daemon = Daemon(tmp_path, {"catalog": {"url": f"sqlite:///{disk / 'catalog.db'}"}})
    await daemon.start()
    yield daemon
    await daemon.end()


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def doctor(daemon: Daemon) -> str:
    """What it says."""
    command = [IMAGED, "doctor", "--config", str(daemon.config)]
    done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8")
    return done.stdout + done.stderr


async def test_a_full_disk_is_noticed_and_forgiven(daemon: Daemon, disk: Path) -> None:
    """/readyz and doctor name it; when there is room again, all is well without a restart."""
    filler = disk / "filler"
    async with Client(daemon.url) as client:
        await client.create()
        fill(filler)

        async def is_noticed() -> bool:
            await client.request("POST", "/v2/images", json={"name": "n", "p": LONG})
            status, said = await client.request("GET", "/readyz")
            return status == 503 and b"catalog" in said

        await until(is_noticed, "the daemon does not miss its disk")
        assert "has no room: its disk is full" in await to_thread(doctor, daemon)

        filler.unlink()
        await daemon.wait_ready()
        await client.create()
