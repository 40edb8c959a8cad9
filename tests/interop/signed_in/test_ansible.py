"""The modules of Ansible's collection `openstack.cloud` about images, signed in through Keystone.

What each does is looked up in the catalog. The list of modules is that of the collection.
"""

from __future__ import annotations

import hashlib

import pytest

from imaged.core.lifecycle import Status
from support import ansible, disk_images
from support.ansible import run_module
from support.cloud import Cloud, chosen

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

DISK = disk_images.raw()


async def test_first_steps(cloud: Cloud) -> None:
    """Sign in, create with a file, look it up, delete."""
    cloud.write_clouds(member=cloud.member)
    given = {"cloud": "member", "name": "one"}

    made = await run_module(cloud, "image", **given, filename="disk.raw", disk_format="raw")

    image = await cloud.image(made["image"]["id"])
    assert (image.status, image.name, image.owner) == (Status.ACTIVE, "one", cloud.member.project)
    assert image.content is not None
    assert image.content.hash_value == hashlib.sha512(DISK).hexdigest()
    (found,) = (await run_module(cloud, "image_info", **given))["images"]
    assert (found["id"], found["size"]) == (image.id, len(DISK))
    await run_module(cloud, "image", **given, state="absent")
    assert (await cloud.image(image.id)).status is Status.PENDING_DELETE


@pytest.mark.clients
async def test_every_module(cloud: Cloud) -> None:
    """Create twice, change, deactivate, reactivate, filter, delete: each says what it changed."""
    cloud.write_clouds(member=cloud.member, admin=cloud.admin)
    image = {"cloud": "member", "name": "two", "filename": "disk.raw", "disk_format": "raw"}
    made = await run_module(cloud, "image", **image, tags=["a"], properties={"os_distro": "debian"})
    image_id = made["image"]["id"]
    assert made["changed"]
    again = await run_module(cloud, "image", **image)
    assert (again["changed"], again["image"]["id"]) == (False, image_id)

    change = {"properties": {"colour": "red"}, "min_disk": 3, "is_protected": True, "tags": ["b"]}
    assert (await run_module(cloud, "image", **image, **change, visibility="shared"))["changed"]
    record = await cloud.image(image_id)
    assert (record.min_disk_gib, record.protected, record.tags) == (3, True, ("b",))
    assert chosen(record)["colour"] == "red"
    await run_module(cloud, "image", **image, is_protected=False)
    await run_module(cloud, "image", **image, state="inactive")
    assert (await cloud.image(image_id)).status is Status.DEACTIVATED
    await run_module(cloud, "image", **image)
    assert (await cloud.image(image_id)).status is Status.ACTIVE

    public = {"cloud": "admin", "name": "for-all", "visibility": "public"}
    await run_module(cloud, "image", **public, filename="disk.raw", disk_format="raw")
    found = await run_module(cloud, "image_info", cloud="member", filters={"visibility": "public"})
    assert [one["name"] for one in found["images"]] == ["for-all"]
    await run_module(cloud, "image", **image, state="absent")
    assert (await cloud.image(image_id)).status is Status.PENDING_DELETE


@pytest.mark.clients
async def test_no_other_modules_are_about_images() -> None:
    """A module that a new version brings is tested."""
    modules = ansible.programs().with_name("collections") / ansible.COLLECTION / "plugins/modules"
    assert {one.stem for one in modules.glob("*image*")} == {"image", "image_info"}
