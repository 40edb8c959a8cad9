"""openstacksdk, signed in through Keystone by a `clouds.yaml`: every method of `connection.image`.

What each does is looked up in the catalog. The list of methods is that of the class.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imaged.core.image import Visibility
from imaged.core.lifecycle import Status
from support import disk_images
from support.client_process import ClientProcess, client_process
from support.cloud import Cloud
from support.not_yet import REFUSED, given_of
from support.virtualenvs import pinned_environment

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

DISK = disk_images.raw()
RAW = 'disk_format="raw", container_format="bare"'

#: Of someone who is signed in.
CALL = re.compile(r"(?:member|admin|neighbour)\.image\.(\w+)\(")

SIGN_IN = """
import openstack
from openstack.image.v2._proxy import Proxy
member, admin, neighbour = map(openstack.connect, ("member", "admin", "neighbour"))
"""


@dataclass
class SDK:
    """Python in the environment of the library, and the methods that were called."""

    process: ClientProcess
    methods: set[str]
    called: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    async def value(self, expression: str, **variables: object) -> Any:
        """What an expression returns; what it yields, as a list."""
        self.called |= {*CALL.findall(expression)}
        return await self.process.value(expression, "", **variables)

    async def refusal(self, expression: str, **variables: object) -> str:
        """The error that an expression must have."""
        self.called |= {*CALL.findall(expression)}
        self.refused |= {*CALL.findall(expression)}
        return await self.process.refusal(expression, **variables)


@pytest_asyncio.fixture
async def newest(cloud: Cloud) -> AsyncIterator[SDK]:
    """The version that our own tests depend on."""
    async with client_process(Path(sys.executable), cloud.daemon.folder) as process:
        yield await signed_in(process, cloud)


@pytest_asyncio.fixture
async def that_of_ansible(cloud: Cloud) -> AsyncIterator[SDK]:
    """The version that Ansible's collection works with."""
    programs = pinned_environment("ansible")
    async with client_process(programs / "python", cloud.daemon.folder) as process:
        yield await signed_in(process, cloud)


async def signed_in(process: ClientProcess, cloud: Cloud) -> SDK:
    """Connect as everyone; find out which methods there are."""
    cloud.write_clouds(member=cloud.member, admin=cloud.admin, neighbour=cloud.neighbour)
    await process.run(SIGN_IN)
    names = await process.value("[name for name in vars(Proxy) if callable(getattr(Proxy, name))]")
    return SDK(process, {name for name in names if not name.startswith("_")})


async def test_first_steps(newest: SDK, cloud: Cloud) -> None:
    """Sign in, create with a file, show, list, download, delete."""
    await first_steps(newest, cloud)


@pytest.mark.clients
async def test_every_method(newest: SDK, cloud: Cloud) -> None:
    """None of them is left out but those of what is not there yet."""
    await whole_story(newest, cloud)

    assert newest.called == given_of(newest.methods)
    assert newest.refused >= REFUSED & newest.called


@pytest.mark.clients
async def test_the_version_that_ansible_works_with(that_of_ansible: SDK, cloud: Cloud) -> None:
    """It has fewer methods, and no others."""
    newer = {"add_image_location", "image_locations", "image_tasks"}
    assert newer.isdisjoint(that_of_ansible.methods)
    await whole_story(that_of_ansible, cloud)

    assert that_of_ansible.called >= given_of(that_of_ansible.methods)


async def whole_story(sdk: SDK, cloud: Cloud) -> None:
    """Everything that can be done with images."""
    await first_steps(sdk, cloud)
    await changes(sdk, cloud)
    await imports_and_tasks(sdk, cloud)
    await members(sdk, cloud)
    await schemas_and_stores(sdk, cloud)
    await cloud_layer(sdk, cloud)


async def first_steps(sdk: SDK, cloud: Cloud) -> None:
    """The life of an image."""
    create = f'member.image.create_image("one", filename="disk.raw", {RAW}, tags=["a"], wait=True)'
    made = await cloud.image((await sdk.value(create))["id"])
    assert (made.status, made.name, made.owner) == (Status.ACTIVE, "one", cloud.member.project)
    assert made.tags == ("a",)
    assert made.content is not None
    assert made.content.hash_value == hashlib.sha512(DISK).hexdigest()

    assert (await sdk.value("member.image.get_image(id)", id=made.id))["name"] == "one"
    assert (await sdk.value('member.image.find_image("one")'))["id"] == made.id
    assert [one["id"] for one in await sdk.value("member.image.images()")] == [made.id]
    assert await sdk.value("neighbour.image.images()") == []
    await sdk.value('member.image.download_image(id, output="copy.raw")', id=made.id)
    assert (cloud.daemon.folder / "copy.raw").read_bytes() == DISK
    await sdk.value("member.image.delete_image(id)", id=made.id)
    assert (await cloud.image(made.id)).status is Status.PENDING_DELETE
    await sdk.value(
        "member.image.wait_for_delete(openstack.image.v2.image.Image(id=id))", id=made.id
    )


async def changes(sdk: SDK, cloud: Cloud) -> None:
    """Attributes, properties, tags, visibility, deactivation, filters."""
    one = (await sdk.value(f'member.image.create_image("one", {RAW}, data=b"x" * 1024)'))["id"]
    change = 'min_disk=3, min_ram=64, is_protected=True, is_hidden=True, visibility="community"'
    await sdk.value(f'member.image.update_image(id, name="two", {change}, colour="red")', id=one)
    image = await cloud.image(one)
    assert (image.name, image.min_disk_gib, image.min_ram_mib) == ("two", 3, 64)
    assert (image.protected, image.hidden) == (True, True)
    assert (image.visibility, image.properties["colour"]) == (Visibility.COMMUNITY, "red")
    assert "protected" in await sdk.refusal("member.image.delete_image(id)", id=one)
    undo = 'is_protected=False, is_hidden=False, visibility="private"'
    await sdk.value(f"member.image.update_image(id, {undo})", id=one)
    given = 'member.image.get_image(id), os_distro="debian"'
    await sdk.value(f"member.image.update_image_properties({given})", id=one)
    image = await cloud.image(one)
    assert (image.protected, image.hidden) == (False, False)
    assert image.properties["os_distro"] == "debian"

    await sdk.value('member.image.add_tag(id, "b")', id=one)
    assert (await cloud.image(one)).tags == ("b",)
    await sdk.value('member.image.remove_tag(id, "b")', id=one)
    assert (await cloud.image(one)).tags == ()
    await sdk.value("member.image.deactivate_image(id)", id=one)
    assert (await cloud.image(one)).status is Status.DEACTIVATED
    await sdk.value("member.image.reactivate_image(id)", id=one)
    assert (await cloud.image(one)).status is Status.ACTIVE
    waited = 'member.image.wait_for_status(member.image.get_image(id), "active")'
    assert (await sdk.value(waited, id=one))["status"] == "active"

    upload = 'member.image.upload_image("bare", "raw", b"y" * 2048, name="alpha")'
    two = (await sdk.value(upload))["id"]
    assert (await cloud.image(two)).status is Status.ACTIVE
    lists = {
        'sort="name:asc"': [two, one],
        'sort_key="name", sort_dir="desc"': [one, two],
        'limit=1, sort="name:asc"': [two, one],
        'name="two"': [one],
        'status="queued"': [],
        'visibility="private"': [one],
        "size_min=2000": [two],
        "size_max=1500": [one],
        'tag="nothing"': [],
        'owner=member.current_project_id, sort="name:asc"': [two, one],
        "is_hidden=True": [],
        'os_distro="debian"': [one],
    }
    for query, expected in lists.items():
        found = await sdk.value(f"member.image.images({query})")
        assert [image["id"] for image in found] == expected, query
    for image_id in (one, two):
        await sdk.value("member.image.delete_image(id)", id=image_id)


async def imports_and_tasks(sdk: SDK, cloud: Cloud) -> None:
    """Staged data, imports, tasks."""
    assert "glance-direct" in str(await sdk.value("member.image.get_import_info()"))
    create = f'member.image.create_image("staged", {RAW}, allow_duplicates=True)'
    staged = (await sdk.value(create))["id"]
    await sdk.value(
        'member.image.stage_image(member.image.get_image(id), filename="disk.raw")', id=staged
    )
    assert (await cloud.image(staged)).status is Status.UPLOADING
    await sdk.value("member.image.import_image(member.image.get_image(id))", id=staged)
    create = f'member.image.create_image("whole", filename="disk.raw", {RAW}, use_import=True)'
    whole = (await sdk.value(create))["id"]
    async with cloud.client(cloud.member) as client:
        await client.until_status(staged, "active")
        await client.until_status(whole, "active")
    if "image_tasks" in sdk.methods:
        (task,) = await sdk.value("member.image.image_tasks(id)", id=staged)
        assert task["status"] == "success"

    order = 'admin.image.create_task(type="verify", input={"image_id": id})'
    verify = (await sdk.value(order, id=whole))["id"]
    waited = "admin.image.wait_for_task(admin.image.get_task(id), interval=0.2)"
    assert (await sdk.value(waited, id=verify))["status"] == "success"
    assert len(await sdk.value("admin.image.tasks()")) == 3
    assert len(await sdk.value('admin.image.tasks(type="verify", status="success")')) == 1
    for image_id in (staged, whole):
        await sdk.value("member.image.delete_image(id)", id=image_id)


async def members(sdk: SDK, cloud: Cloud) -> None:
    """Share, accept, reject, and stop sharing."""
    create = f'member.image.create_image("shared", {RAW}, visibility="shared")'
    image_id = (await sdk.value(create))["id"]
    names = {"id": image_id, "other": cloud.neighbour.project}
    await sdk.value("member.image.add_member(id, member_id=other)", **names)
    assert await cloud.members(image_id) == {names["other"]: "pending"}
    for status in ("accepted", "rejected", "accepted"):
        change = f'neighbour.image.update_member(other, id, status="{status}")'
        await sdk.value(change, **names)
        assert await cloud.members(image_id) == {names["other"]: status}
    listed = 'neighbour.image.images(visibility="shared", member_status="accepted")'
    assert [one["id"] for one in await sdk.value(listed)] == [image_id]
    (row,) = await sdk.value("member.image.members(id)", id=image_id)
    assert (row["member_id"], row["status"]) == (names["other"], "accepted")
    for call in ("get_member", "find_member"):
        row = await sdk.value(f"member.image.{call}(other, id)", **names)
        assert row["status"] == "accepted"
    await sdk.value("member.image.remove_member(other, id)", **names)
    assert await cloud.members(image_id) == {}
    await sdk.value("member.image.delete_image(id)", id=image_id)


async def schemas_and_stores(sdk: SDK, cloud: Cloud) -> None:
    """What there is to know; where data is, is not for users to say."""
    for name in ("image", "images", "member", "members", "task", "tasks"):
        schema = await sdk.value(f"member.image.get_{name}_schema()")
        assert schema["name"] == name
    (store,) = await sdk.value("member.image.stores()")
    assert store["id"] == cloud.daemon.backend.store
    assert len(await sdk.value("admin.image.stores(details=True)")) == 1
    if "add_image_location" in sdk.methods:
        image_id = (await sdk.value(f'member.image.create_image("nowhere", {RAW})'))["id"]
        place = 'member.image.add_image_location(id, "http://127.0.0.1/disk.raw")'
        assert await sdk.refusal(place, id=image_id)
        assert (await cloud.image(image_id)).status is Status.QUEUED
        await sdk.refusal("list(member.image.image_locations(id))", id=image_id)
        await sdk.value("member.image.delete_image(id)", id=image_id)


async def cloud_layer(sdk: SDK, cloud: Cloud) -> None:
    """The methods of the connection itself, which Ansible and Nodepool call."""
    sent = f'"one", filename="disk.raw", {RAW}, wait=True, validate_checksum=True'
    image_id = (await sdk.value(f'member.create_image({sent}, os_distro="debian")'))["id"]
    assert (await cloud.image(image_id)).properties["os_distro"] == "debian"
    assert [one["id"] for one in await sdk.value("member.list_images()")] == [image_id]
    assert (await sdk.value('member.get_image("one")'))["id"] == image_id
    assert (await sdk.value("member.get_image_by_id(id)", id=image_id))["name"] == "one"
    assert len(await sdk.value('member.search_images("one")')) == 1
    await sdk.value('member.update_image_properties(member.get_image("one"), colour="red")')
    assert (await cloud.image(image_id)).properties["colour"] == "red"
    await sdk.value('member.download_image("one", output_path="again.raw")')
    assert (cloud.daemon.folder / "again.raw").read_bytes() == DISK
    assert (await sdk.value(f"member.create_image({sent})"))["id"] == image_id, "sent again"
    assert await sdk.value('member.delete_image("one", wait=True)') is True
    assert (await cloud.image(image_id)).status is Status.PENDING_DELETE
