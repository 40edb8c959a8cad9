"""The `openstack` command line, signed in through Keystone: every command about images.

What each does is looked up in the catalog. The list of commands is that of `openstack help image`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imaged.core.image import Visibility
from imaged.core.lifecycle import Status
from support import disk_images
from support.cloud import Cloud, chosen
from support.command_line import CommandLine
from support.keystone import User
from support.not_yet import given_of

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

DISK = disk_images.raw()
ENTRY = "openstackclient.shell:main"


class OpenStack(CommandLine):
    """The client; it tells programs what it has done."""

    async def told(self, user: User, arguments: str) -> Any:
        """What a command says as JSON."""
        return json.loads(await self.run(user, f"{arguments} -f json"))


@pytest_asyncio.fixture
async def openstack(cloud: Cloud) -> AsyncIterator[OpenStack]:
    """The version that our own tests depend on."""
    async with AsyncExitStack() as running:
        client = OpenStack(cloud, Path(sys.executable), ENTRY, running, ("image",))
        text = await client.help("help image")
        client.known = {*re.findall(r"^  image (.+)$", text, re.MULTILINE)}
        yield client


async def test_first_steps(openstack: OpenStack, cloud: Cloud) -> None:
    """Sign in, create with a file, show, list, save, delete."""
    await first_steps(openstack, cloud)


@pytest.mark.clients
async def test_every_command(openstack: OpenStack, cloud: Cloud) -> None:
    """None of them is left out but those of what is not there yet."""
    await first_steps(openstack, cloud)
    await changes(openstack, cloud)
    await imports_and_tasks(openstack, cloud)
    await members(openstack, cloud)
    await rights(openstack, cloud)

    assert openstack.given == given_of(openstack.known)


async def test_no_other_commands_are_about_images() -> None:
    """Some do not begin with `image`; all of these are for the cache."""
    names = {one.name for one in entry_points(group="openstack.image.v2")}
    assert [name for name in given_of(names) if not name.startswith("image_")] == []


async def first_steps(openstack: OpenStack, cloud: Cloud) -> None:
    """The life of an image."""
    create = "create --file disk.raw --disk-format raw --property os_distro=debian --tag a one"
    told = await openstack.told(cloud.member, create)

    made = await cloud.image(told["id"])
    assert (made.status, made.name, made.owner) == (Status.ACTIVE, "one", cloud.member.project)
    assert (made.tags, chosen(made)) == (("a",), {"os_distro": "debian"})
    assert made.content is not None
    assert made.content.hash_value == hashlib.sha512(DISK).hexdigest()
    assert made.visibility is Visibility.SHARED
    shown = await openstack.told(cloud.member, "show one")
    assert (shown["id"], shown["owner"]) == (made.id, cloud.member.project)
    assert [row["ID"] for row in await openstack.told(cloud.member, "list")] == [made.id]
    assert await openstack.told(cloud.neighbour, "list") == []
    await openstack.run(cloud.member, "save --file copy.raw one")
    assert (cloud.daemon.folder / "copy.raw").read_bytes() == DISK
    await openstack.run(cloud.member, "delete one")
    assert (await cloud.image(made.id)).status is Status.PENDING_DELETE


async def changes(openstack: OpenStack, cloud: Cloud) -> None:
    """Attributes, properties, tags, visibility, protection, hiding, deactivation, filters."""
    image_id = (await openstack.told(cloud.member, "create --disk-format raw two"))["id"]
    change = "set --name three --min-disk 3 --min-ram 64 --tag b --property colour=red --protected"
    more = "--hidden --os-distro debian --os-version 12 --architecture x86_64 --community"
    await openstack.run(cloud.member, f"{change} {more} {image_id}")
    image = await cloud.image(image_id)
    assert (image.name, image.min_disk_gib, image.min_ram_mib) == ("three", 3, 64)
    assert (image.tags, image.protected, image.hidden) == (("b",), True, True)
    assert image.visibility is Visibility.COMMUNITY
    assert chosen(image) == {
        "colour": "red", "os_distro": "debian", "os_version": "12", "architecture": "x86_64"
    }  # fmt: skip
    assert "protected" in await openstack.refusal(cloud.member, "delete three")

    change = "unset --tag b --property colour --property os_version"
    await openstack.run(cloud.member, f"{change} {image_id}")
    await openstack.run(cloud.member, f"set --unprotected --unhidden --private {image_id}")
    image = await cloud.image(image_id)
    assert (image.tags, image.protected, image.hidden) == ((), False, False)
    assert chosen(image) == {"os_distro": "debian", "architecture": "x86_64"}

    created = "create --file disk.raw --disk-format raw --container-format bare"
    active = (await openstack.told(cloud.member, f"{created} four"))["id"]
    await openstack.run(cloud.member, "set --deactivate four")
    assert (await cloud.image(active)).status is Status.DEACTIVATED
    await openstack.run(cloud.member, "set --activate four")
    assert (await cloud.image(active)).status is Status.ACTIVE

    lists = {
        "--name four": [active],
        "--status queued": [image_id],
        "--private": [image_id],
        "--property os_distro=debian": [image_id],
        "--sort name:asc": [active, image_id],
        "--limit 1 --sort name:desc": [active],  # the newest: the client sorts what it got
        f"--marker {active}": [image_id],
        "--tag nothing": [],
        f"--all --project {cloud.member.project} --sort name": [active, image_id],
    }
    for options, expected in lists.items():
        found = await openstack.told(cloud.member, f"list --long {options}")
        assert [row["ID"] for row in found] == expected, options
    await openstack.run(cloud.member, f"delete {image_id} {active}")


async def imports_and_tasks(openstack: OpenStack, cloud: Cloud) -> None:
    """Staged data, tasks, stores, and the copy in one store."""
    told = await openstack.told(cloud.member, "import info")
    assert "glance-direct" in str(told)
    (store,) = await openstack.told(cloud.member, "stores list")
    assert store["ID"] == cloud.daemon.backend.store
    assert len(await openstack.told(cloud.admin, "stores list --detail")) == 1

    create = "create --disk-format raw --container-format bare"
    staged = (await openstack.told(cloud.member, f"{create} staged"))["id"]
    await openstack.run(cloud.member, f"stage --file disk.raw {staged}")
    assert (await cloud.image(staged)).status is Status.UPLOADING
    await openstack.run(cloud.member, f"import --method glance-direct --wait {staged}")
    imported = (await openstack.told(cloud.member, f"{create} --file disk.raw --import whole"))[
        "id"
    ]
    async with cloud.client(cloud.member) as client:
        await client.until_status(staged, "active")  # the client does not, in spite of --wait
        await client.until_status(imported, "active")
    assert (await cloud.image(imported)).content is not None

    tasks = await openstack.told(cloud.admin, "task list --status success --sort-key created_at")
    assert len(tasks) == 2
    task = await openstack.told(cloud.admin, f"task show {tasks[0]['ID']}")
    assert task["result"]["image_id"] in {staged, imported}

    await openstack.run(cloud.member, f"delete {staged} {imported}")


async def members(openstack: OpenStack, cloud: Cloud) -> None:
    """Share, accept, reject, and stop sharing."""
    create = "create --file disk.raw --disk-format raw --container-format bare --shared"
    image_id = (await openstack.told(cloud.member, f"{create} together"))["id"]
    other = cloud.neighbour.project
    await openstack.run(cloud.member, f"add project {image_id} {other}")
    assert await cloud.members(image_id) == {other: "pending"}
    assert await openstack.told(cloud.neighbour, "list --shared") == []

    for option, status in (("accept", "accepted"), ("reject", "rejected"), ("accept", "accepted")):
        await openstack.run(cloud.neighbour, f"set --{option} --project {other} {image_id}")
        assert await cloud.members(image_id) == {other: status}
    found = await openstack.told(cloud.neighbour, "list --shared --member-status accepted")
    assert [row["ID"] for row in found] == [image_id]
    (row,) = await openstack.told(cloud.member, f"member list {image_id}")
    assert (row["Member ID"], row["Status"]) == (other, "accepted")
    one = await openstack.told(cloud.member, f"member get {image_id} {other}")
    assert one["status"] == "accepted"

    await openstack.run(cloud.member, f"remove project {image_id} {other}")
    assert await cloud.members(image_id) == {}
    await openstack.refusal(cloud.neighbour, f"show {image_id}")


async def rights(openstack: OpenStack, cloud: Cloud) -> None:
    """Only an admin makes public images, and images of others."""
    create = "create --disk-format raw --container-format bare"
    assert "403" in await openstack.refusal(cloud.member, f"{create} --public for-all")
    told = await openstack.told(cloud.admin, f"{create} --public for-all")
    assert (await cloud.image(told["id"])).visibility is Visibility.PUBLIC
    assert [row["Name"] for row in await openstack.told(cloud.neighbour, "list")] == ["for-all"]

    given = f"{create} --project {cloud.neighbour.project} given"
    told = await openstack.told(cloud.admin, given)
    assert (await cloud.image(told["id"])).owner == cloud.neighbour.project
