"""The `glance` command line, signed in through Keystone: every command about images.

What each does is looked up in the catalog. The list of commands is the client's own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from imaged.core.image import Visibility
from imaged.core.lifecycle import Status
from support import disk_images
from support.cloud import Cloud
from support.command_line import CommandLine
from support.not_yet import REFUSED, given_of
from support.virtualenvs import pinned_environment

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

DISK = disk_images.raw()
ENTRY = "glanceclient.shell:main"
CREATE = "image-create --disk-format raw --container-format bare"

#: Commands about the client itself.
ITS_OWN = {"help", "bash-completion"}


@pytest_asyncio.fixture
async def glance(cloud: Cloud) -> AsyncIterator[CommandLine]:
    """The newest version, in an environment of its own."""
    async with AsyncExitStack() as running:
        client = CommandLine(cloud, pinned_environment("glance") / "python", ENTRY, running)
        told = (await client.help("bash-completion")).split()
        client.known = given_of([word for word in told if word[0] != "-"]) - ITS_OWN
        yield client


async def test_first_steps(glance: CommandLine, cloud: Cloud) -> None:
    """Sign in, create with a file, show, list, download, delete."""
    await first_steps(glance, cloud)


@pytest.mark.clients
async def test_every_command(glance: CommandLine, cloud: Cloud) -> None:
    """None of them is left out but those of what is not there yet."""
    await first_steps(glance, cloud)
    await changes(glance, cloud)
    await imports_and_tasks(glance, cloud)
    await members(glance, cloud)
    await locations(glance, cloud)
    await stores_and_usage(glance, cloud)

    assert glance.given == glance.known
    assert glance.refused >= REFUSED & glance.given


async def first_steps(glance: CommandLine, cloud: Cloud) -> None:
    """The life of an image."""
    options = "--file disk.raw --name one --property os_distro=debian --tags a"
    made = await cloud.image(told(await glance.run(cloud.member, f"{CREATE} {options}"))["id"])
    assert (made.status, made.name, made.owner) == (Status.ACTIVE, "one", cloud.member.project)
    assert (made.tags, made.properties) == (("a",), {"os_distro": "debian"})
    assert made.content is not None
    assert made.content.hash_value == hashlib.sha512(DISK).hexdigest()

    shown = told(await glance.run(cloud.member, f"image-show {made.id}"))
    assert (shown["name"], shown["owner"]) == ("one", cloud.member.project)
    assert ids(await glance.run(cloud.member, "image-list")) == [made.id]
    assert ids(await glance.run(cloud.neighbour, "image-list")) == []
    await glance.run(cloud.member, f"image-download --file copy.raw {made.id}")
    assert (cloud.daemon.folder / "copy.raw").read_bytes() == DISK
    await glance.run(cloud.member, f"image-delete {made.id}")
    assert (await cloud.image(made.id)).status is Status.PENDING_DELETE


async def changes(glance: CommandLine, cloud: Cloud) -> None:
    """Attributes, properties, tags, visibility, protection, hiding, deactivation, filters."""
    one = told(await glance.run(cloud.member, f"{CREATE} --name one"))["id"]
    more = "--name two --min-disk 3 --min-ram 64 --protected True --hidden True"
    change = f"image-update {more} --visibility community --property colour=red {one}"
    await glance.run(cloud.member, change)
    image = await cloud.image(one)
    assert (image.name, image.min_disk_gib, image.min_ram_mib) == ("two", 3, 64)
    assert (image.protected, image.hidden, image.properties) == (True, True, {"colour": "red"})
    assert image.visibility is Visibility.COMMUNITY
    assert "not permitted" in await glance.refusal(cloud.member, f"image-delete {one}")
    change = "image-update --protected False --hidden False --remove-property colour"
    await glance.run(cloud.member, f"{change} --visibility private {one}")
    image = await cloud.image(one)
    assert (image.protected, image.hidden, image.properties) == (False, False, {})

    await glance.run(cloud.member, f"image-tag-update {one} b")
    assert (await cloud.image(one)).tags == ("b",)
    await glance.run(cloud.member, f"image-tag-delete {one} b")
    assert (await cloud.image(one)).tags == ()

    await glance.run(cloud.member, f"image-upload --file disk.raw {one}")
    assert (await cloud.image(one)).status is Status.ACTIVE
    await glance.run(cloud.member, f"image-deactivate {one}")
    assert (await cloud.image(one)).status is Status.DEACTIVATED
    await glance.run(cloud.member, f"image-reactivate {one}")
    assert (await cloud.image(one)).status is Status.ACTIVE

    two = told(await glance.run(cloud.member, f"{CREATE} --name alpha --tags c"))["id"]
    md5 = hashlib.md5(DISK, usedforsecurity=False).hexdigest()
    lists = {
        "--sort name:asc": [two, one],
        "--sort-key name --sort-dir desc": [one, two],
        "--limit 1 --sort-key name --sort-dir asc": [two],
        "--page-size 1 --sort name:asc": [two, one],
        "--property-filter name=two": [one],
        "--property-filter status=active": [one],
        "--tag c": [two],
        f"--checksum {md5}": [one],
        f"--hash {hashlib.sha512(DISK).hexdigest()}": [one],
        "--visibility private": [one],
        f"--owner {cloud.member.project} --sort name:asc": [two, one],
        "--hidden True": [],
        "--include-stores --tag c": [two],
    }
    for options, expected in lists.items():
        assert ids(await glance.run(cloud.member, f"image-list {options}")) == expected, options
    await glance.run(cloud.member, f"image-delete {one} {two}")


async def imports_and_tasks(glance: CommandLine, cloud: Cloud) -> None:
    """Staged data, imports in one step and in three, tasks."""
    info = await glance.run(cloud.member, "import-info")
    assert "glance-direct" in re.sub(r"[|\s]", "", info), "its table breaks lines"
    staged = told(await glance.run(cloud.member, f"{CREATE} --name staged"))["id"]
    await glance.run(cloud.member, f"image-stage --file disk.raw {staged}")
    assert (await cloud.image(staged)).status is Status.UPLOADING
    await glance.run(cloud.member, f"image-import --import-method glance-direct {staged}")
    create = CREATE.replace("image-create", "image-create-via-import")
    whole = told(await glance.run(cloud.member, f"{create} --name whole --file disk.raw"))["id"]
    async with cloud.client(cloud.member) as client:
        await client.until_status(staged, "active")
        await client.until_status(whole, "active")
    (await_task,) = rows(await glance.run(cloud.member, f"image-tasks {staged}"))
    assert await_task["Status"] == "success"

    order = json.dumps({"image_id": whole})
    create_task = f"task-create --type verify --input '{order}'"
    task = told(await glance.run(cloud.admin, create_task))["id"]
    tasks = ids(await glance.run(cloud.admin, "task-list --sort-key type --sort-dir desc"))
    assert (tasks[0], len(tasks)) == (task, 3)
    assert ids(await glance.run(cloud.admin, "task-list --type verify")) == [task]
    assert told(await glance.run(cloud.admin, f"task-show {task}"))["type"] == "verify"
    await glance.run(cloud.member, f"image-delete {staged} {whole}")


async def members(glance: CommandLine, cloud: Cloud) -> None:
    """Share, accept, reject, and stop sharing."""
    image_id = told(await glance.run(cloud.member, f"{CREATE} --visibility shared"))["id"]
    other = cloud.neighbour.project
    await glance.run(cloud.member, f"member-create {image_id} {other}")
    assert await cloud.members(image_id) == {other: "pending"}
    for status in ("accepted", "rejected", "pending", "accepted"):
        await glance.run(cloud.neighbour, f"member-update {image_id} {other} {status}")
        assert await cloud.members(image_id) == {other: status}
    listed = "image-list --visibility shared --member-status accepted"
    assert ids(await glance.run(cloud.neighbour, listed)) == [image_id]
    (row,) = rows(await glance.run(cloud.member, f"member-list --image-id {image_id}"))
    assert (row["Member ID"], row["Status"]) == (other, "accepted")
    assert other in await glance.run(cloud.member, f"member-get {image_id} {other}")
    await glance.run(cloud.member, f"member-delete {image_id} {other}")
    assert await cloud.members(image_id) == {}
    await glance.run(cloud.member, f"image-delete {image_id}")


async def locations(glance: CommandLine, cloud: Cloud) -> None:
    """Where the data is, is not for users to say: refused, and nothing is changed."""
    image_id = told(await glance.run(cloud.member, CREATE))["id"]
    url = "--url http://127.0.0.1/disk.raw"
    for command in (
        f"location-add {url} {image_id}",
        f"location-update {url} {image_id}",
        f"location-delete {url} {image_id}",
        f"add-location {url} {image_id}",
    ):
        assert await glance.refusal(cloud.member, command)
    image = await cloud.image(image_id)
    assert (image.status, image.locations) == (Status.QUEUED, ())
    await glance.run(cloud.member, f"image-delete {image_id}")


async def stores_and_usage(glance: CommandLine, cloud: Cloud) -> None:
    """Stores, the copy in one, usage, and what an image is."""
    store = cloud.daemon.backend.store
    assert store in await glance.run(cloud.member, "stores-info")
    assert store in await glance.run(cloud.admin, "stores-info --detail")
    create = f"{CREATE} --file disk.raw --store {store}"
    image_id = told(await glance.run(cloud.member, create))["id"]
    (location,) = (await cloud.image(image_id)).locations
    assert location.store == store
    await glance.refusal(cloud.admin, f"stores-delete --store {store} {image_id}")
    assert (await cloud.image(image_id)).locations == (location,)
    used = {row["Quota"]: row for row in rows(await glance.run(cloud.member, "usage"))}
    assert used["image_count_total"]["Usage"] == "1"
    assert "disk_format" in await glance.run(cloud.member, "explain image")


def rows(output: str) -> list[Mapping[str, str]]:
    """The rows of a table that is drawn with lines, by its heading."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in output.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]] if cells else []


def told(output: str) -> Mapping[str, str]:
    """The facts of one thing."""
    return {row["Property"]: row["Value"] for row in rows(output)}


def ids(output: str) -> list[str]:
    """Of all things in a list."""
    return [row["ID"] for row in rows(output)]
