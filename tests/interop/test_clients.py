"""What the page of clients says of OpenStack's: each command of the table, on a real daemon."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from keystoneauth1.discover import Discover
from keystoneauth1.noauth import NoAuth
from keystoneauth1.session import Session

from imaged.api.versions import announced_versions
from references.calls import CALLS
from references.clients import CLIENTS, OPERATIONS
from support import disk_images
from support.client import Client
from support.daemon import Daemon, clean_environment
from support.virtualenvs import environment

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

#: Runs commands in one process, because importing the client takes longer than all of them.
SHELL = """
import contextlib, io, json, sys
from openstackclient.shell import main

codes = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()):
        codes.append(main(["--os-cloud", "lab", "image", *words]))
print(json.dumps(codes))
"""

#: How each command of the table is called, in an order in which they can be.
ARGUMENTS: Mapping[str, str] = {
    "create": "--disk-format raw --container-format bare --file disk.raw one",
    "list": "--tag nothing",
    "show": "one",
    "set": "--property colour=red one",
    "unset": "--property colour one",
    "set --tag": "new one",
    "unset --tag": "new one",
    "save": "--file copy.raw one",
    "set --deactivate": "one",
    "set --activate": "one",
    "set --accept": "one",
    "import info": "",
    "stage": "--file disk.raw two",
    "import": "--method glance-direct two",
    "stores list": "",
    "task list": "",
    "task show": "TASK",
    "add project": "one web",
    "remove project": "one web",
    "member list": "one",
    "metadef namespace list": "",
    "delete --store": "local one",
    "delete": "one",
}

#: Those that ask Keystone for the project first, and fail where there is none.
ASKING_KEYSTONE = {"add project", "remove project", "set --accept"}


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """A running daemon, and a cloud of that name in its folder."""
    running = Daemon(tmp_path)
    (tmp_path / "disk.raw").write_bytes(disk_images.raw())
    await running.start()
    lab = {"auth_type": "none", "auth": {"endpoint": running.url}}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"lab": lab}}))
    yield running
    await running.end(signal.SIGKILL)


async def test_openstack_commands_do_what_the_page_says(daemon: Daemon) -> None:
    """Without Keystone, those of what is there succeed unless they ask it; the others do not."""
    answered = {
        command: one.is_answered and command not in ASKING_KEYSTONE
        for one in OPERATIONS
        for command in filter(None, one.openstack.split(", "))
    }
    assert answered.keys() == ARGUMENTS.keys()
    async with Client(daemon.url) as client:
        await client.create(name="two")
        third = await client.create(name="three")
        assert await client.put(third, disk_images.raw()) == 204
        order = {"type": "verify", "input": {"image_id": third}}
        _, body = await client.request("POST", "/v2/tasks", json=order)
        task = json.loads(body)["id"]
    words = [f"{name} {more}".replace("TASK", task).split() for name, more in ARGUMENTS.items()]

    output = await run(daemon, sys.executable, "-c", SHELL, given=json.dumps(words))

    succeeded = {name: code == 0 for name, code in zip(ARGUMENTS, json.loads(output), strict=True)}
    assert succeeded == answered
    assert (daemon.folder / "copy.raw").read_bytes() == disk_images.raw()


@pytest.mark.clients
async def test_the_glance_command_has_what_the_page_says(daemon: Daemon) -> None:
    """Its commands are there, and it needs nothing but an address and a word for a token."""
    package = CLIENTS["`glance`"].version.replace(" ", "==")
    glance = environment(package, package, "setuptools<81") / "glance"
    told = {command for one in OPERATIONS for command in filter(None, one.glance.split(", "))}

    known = await run(daemon, glance, "bash-completion")
    assert told <= {*known.split()}
    signed_in = ("--os-image-url", daemon.url, "--os-auth-token", "any")
    create = ("--name", "one", "--disk-format", "raw", "--container-format", "bare")
    await run(daemon, glance, *signed_in, "image-create", *create, "--file", "disk.raw")
    assert " one " in await run(daemon, glance, *signed_in, "image-list")


async def test_what_is_not_there_is_answered_so(daemon: Daemon) -> None:
    """With 404 or 405, and the import method `copy-image` with 400."""
    missing = [call for one in OPERATIONS if not one.is_answered for call in one.calls]
    async with Client(daemon.url) as client:
        image_id = await client.create()
        assert missing
        for method, path in missing:
            address = path.format(image_id=image_id, store_id="local")
            status, _ = await client.request(method, address)
            assert status in {404, 405}, (method, address)
        copy = {"method": {"name": "copy-image"}, "stores": ["local"]}
        status, _ = await client.request("POST", f"/v2/images/{image_id}/import", json=copy)
        assert status == 400


async def test_keystoneauth_finds_what_is_announced(daemon: Daemon) -> None:
    """It takes the highest version for "2", and for one that is missing the next higher one."""
    listed = await asyncio.to_thread(discovered, daemon.url)
    announced = announced_versions(f"{method} {path}" for method, path in CALLS)
    assert [f"v2.{minor}" for _, minor in reversed(listed.versions)] == announced
    assert f"v2.{listed.highest[1]}" == announced[0]
    assert "v2.2" not in announced
    assert listed.for_2_2 == listed.highest


@dataclass(frozen=True)
class Discovered:
    """What keystoneauth reads from the list."""

    versions: list[tuple[int, int]]
    highest: tuple[int, int]
    for_2_2: tuple[int, int]


def discovered(url: str) -> Discovered:
    """Read the list, as clients of OpenStack do."""
    found = Discover(Session(auth=NoAuth()), url)
    highest = found.versioned_data_for(url, min_version="2", max_version="2.latest")
    for_2_2 = found.versioned_data_for(url, min_version="2.2")
    assert highest
    assert for_2_2
    versions = [one["version"] for one in found.version_data()]
    return Discovered(versions, highest["version"], for_2_2["version"])


async def run(daemon: Daemon, *command: str | Path, given: str = "") -> str:
    """Run a program in the folder of the daemon; its output. It must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=daemon.folder,
        env=clean_environment() | {"HOME": str(daemon.folder)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(given.encode())
    assert process.returncode == 0, errors.decode() + daemon.log_text()
    return output.decode()
