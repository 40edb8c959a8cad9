"""Real images, real clients: up by ``curl`` and ``openstack``, and down byte-identical."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.daemon import Daemon, clean_environment

OPENSTACK = str(Path(sys.executable).with_name("openstack"))
RESCUE_ISO = Path("/usr/lib/grub-rescue/grub-rescue-cdrom.iso")
PACKAGES = {
    "curl": "curl",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "sgdisk": "gdisk",
}

pytestmark = [pytest.mark.system, pytest.mark.asyncio, pytest.mark.timeout(180)]


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A running daemon."""
    for program, package in PACKAGES.items():
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: install the Debian package {package}.")
    if not RESCUE_ISO.exists():  # noqa: ASYNC240 - a test may block
        pytest.fail(f"{RESCUE_ISO} is missing: install the Debian package grub-rescue-pc.")
    running = Daemon(tmp_path)
    await running.start()
    yield running
    await running.end(signal.SIGKILL)


async def run(daemon: Daemon, *command: str, told: str = "") -> str:
    """Run a program that must succeed; its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=clean_environment() | {"HOME": str(daemon.folder)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(told.encode())
    assert process.returncode == 0, errors.decode() + daemon.log_text()
    return output.decode()


async def make_image(daemon: Daemon, kind: str) -> tuple[Path, str]:
    """A real image, and the disk format to declare."""
    path = daemon.folder / "source"
    match kind:
        case "iso":
            return RESCUE_ISO, "iso"
        case "qcow2":
            await run(daemon, "qemu-img", "convert", "-O", "qcow2", str(RESCUE_ISO), str(path))
            return path, "qcow2"
        case "raw with MBR":
            await run(daemon, "qemu-img", "create", "-q", "-f", "raw", str(path), "24M")
            await run(daemon, "sfdisk", "-q", str(path), told="label: dos\n,,L,*\n")
        case "raw with GPT":
            await run(daemon, "qemu-img", "create", "-q", "-f", "raw", str(path), "24M")
            await run(daemon, "sgdisk", "-n", "1:0:0", str(path))
    return path, "raw"


KINDS = ["iso", "qcow2", "raw with MBR", "raw with GPT"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_curl_uploads_and_downloads(daemon: Daemon, kind: str, chunked: bool) -> None:
    """``curl -T`` with and without a Content-Length; what comes down is what went up."""
    source, disk_format = await make_image(daemon, kind)
    record = json.dumps({"name": kind, "disk_format": disk_format, "container_format": "bare"})
    image = json.loads(
        await run(daemon, "curl", "-sf", f"{daemon.url}/v2/images", "--json", record)
    )
    data = f"{daemon.url}{image['file']}"
    headers = ["-H", "Content-Type: application/octet-stream", "-H", "Expect:"]
    if chunked:
        headers += ["-H", "Transfer-Encoding: chunked"]
    await run(daemon, "curl", "-sf", "-T", str(source), *headers, data)
    target = daemon.folder / "target"
    await run(daemon, "curl", "-sf", "-o", str(target), data)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
async def test_openstack_uploads_and_downloads(daemon: Daemon, kind: str) -> None:
    """``openstack image create --file`` and ``image save``."""
    source, disk_format = await make_image(daemon, kind)
    client = [OPENSTACK, "--os-auth-type", "none", "--os-endpoint", daemon.url, "image"]
    create = ["create", "--file", str(source), "--disk-format", disk_format, "-f", "json", "real"]
    image = json.loads(await run(daemon, *client, *create))
    assert image["status"] == "active"
    target = daemon.folder / "target"
    await run(daemon, *client, "save", "--file", str(target), image["id"])
    assert target.read_bytes() == source.read_bytes()
