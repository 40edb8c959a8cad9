"""Clients of OpenStack and images without an md5: what docs/how-to/choose-digests.md says."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support import disk_images
from support.client import Client
from support.daemon import Daemon, clean_environment
from support.virtualenvs import environment, pinned_environment

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

#: Downloads an image, which is damaged the second time; uploads one, and shows it.
OPENSTACKSDK = """
import json, sys
import openstack

url, image_id, file = sys.argv[1:]
images = openstack.connection.Connection(
    auth_type="none", auth={"endpoint": url}, image_endpoint_override=url + "/v2"
).image

def told():
    try:
        images.download_image(image_id, output=file + ".copy")
    except Exception as error:
        return str(error)
    return ""

sound = told()
made = images.create_image(
    name="made", filename=file, disk_format="raw", container_format="bare", validate_checksum=True
)
shown = images.get_image(made.id)
print("damage it", flush=True)
sys.stdin.readline()
print(json.dumps([sound, told(), shown.checksum, shown.hash_algo]))
"""
BODY = disk_images.raw()


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A daemon that computes sha256 alone, and sends blocks unverified."""
    settings: dict[str, dict[str, object]] = {
        "uploads": {"checksum": "none", "hash_algorithm": "sha256"},
        "downloads": {"verify": False},
    }
    running = Daemon(tmp_path, settings)
    (tmp_path / "disk.raw").write_bytes(BODY)
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


@pytest.mark.parametrize(
    ("of", "notices"),
    [("here", True), pytest.param("ansible", False, marks=pytest.mark.clients)],
)
async def test_openstacksdk(daemon: Daemon, of: str, notices: bool) -> None:
    """Today's compares sha256; 4.5.0, which knows md5 alone, compares nothing, and works."""
    python = sys.executable if of == "here" else str(pinned_environment(of) / "python")
    image_id = await uploaded(daemon)
    process = await asyncio.create_subprocess_exec(
        *(python, "-W", "ignore", "-c", OPENSTACKSDK, daemon.url, image_id),
        str(daemon.folder / "disk.raw"),
        env=clean_environment() | {"HOME": str(daemon.folder)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"damage it\n"
    damage(daemon, image_id)

    output, _ = await process.communicate(b"\n")

    sound, damaged, checksum, algorithm = json.loads(output)
    assert sound == ""
    assert ("checksum mismatch (sha256)" in damaged) == notices
    assert (checksum, algorithm) == (None, "sha256")


@pytest.mark.clients
async def test_glanceclient(daemon: Daemon) -> None:
    """It compares sha256."""
    package = "python-glanceclient==4.13.0"
    glance = environment(package, package, "setuptools<81") / "glance"
    image_id = await uploaded(daemon)
    signed_in = ("--os-image-url", daemon.url, "--os-auth-token", "any")
    download = ("image-download", "--file", str(daemon.folder / "copy"), image_id)

    assert await told(glance, *signed_in, *download) == (0, "")
    damage(daemon, image_id)
    code, errors = await told(glance, *signed_in, *download)

    assert code != 0
    assert "Corrupt image download" in errors


async def uploaded(daemon: Daemon) -> str:
    """An image with data."""
    async with Client(daemon.url) as client:
        image_id = await client.create()
        assert await client.put(image_id, BODY) == 204
    return image_id


def damage(daemon: Daemon, image_id: str) -> None:
    """Change a byte of the file of an image."""
    (file,) = daemon.folder.rglob(f"{image_id}.*")
    file.write_bytes(bytes([BODY[0] ^ 1]) + BODY[1:])


async def told(*command: str | Path) -> tuple[int | None, str]:
    """The exit code of a command, and its errors."""
    process = await asyncio.create_subprocess_exec(
        *command, env=clean_environment(), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    return process.returncode, errors.decode()
