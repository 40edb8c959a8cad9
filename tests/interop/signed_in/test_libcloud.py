"""Apache Libcloud's driver for OpenStack, signed in through Keystone: every method about images.

What each does is looked up in the catalog. Methods that ask Nova are refused: it is not there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from imaged.core.image import Visibility
from support import disk_images
from support.client_process import ClientProcess, client_process
from support.cloud import Cloud
from support.virtualenvs import pinned_environment

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

SIGN_IN = """
import inspect
from libcloud.compute.drivers.openstack import OpenStack_2_NodeDriver as Driver

def sign_in(name, password, project, **options):
    return Driver(
        name, password, ex_force_auth_url=url, ex_force_auth_version="3.x_password",
        ex_tenant_name=project, ex_domain_name="Default", ex_force_service_region=region, **options,
    )
"""

METHODS = {
    "list_images", "get_image", "ex_update_image", "ex_list_image_members",
    "ex_create_image_member", "ex_get_image_member", "ex_accept_image_member",
}  # fmt: skip

#: They send their requests to Nova: make an image of a server, delete by its old way.
OF_NOVA = {"create_image", "delete_image", "create_volume_snapshot", "copy_image"}


@pytest_asyncio.fixture
async def libcloud(cloud: Cloud) -> AsyncIterator[ClientProcess]:
    """The newest version, in an environment of its own; a member and a neighbour have signed in."""
    python = pinned_environment("libcloud") / "python"
    keystone = cloud.keystone
    async with client_process(python, cloud.daemon.folder) as process:
        url = keystone.url.removesuffix("/v3")
        await process.run(SIGN_IN, url=url, region=cloud.region)
        for name, user in {"member": cloud.member, "neighbour": cloud.neighbour}.items():
            path = f"/projects/{user.project}"
            project = keystone.told("GET", path)["project"]["name"]
            await process.run(f"{name} = sign_in({user.name!r}, {user.password!r}, {project!r})")
        yield process


async def test_every_method(libcloud: ClientProcess, cloud: Cloud) -> None:
    """Sign in, list, show, change, share and accept; it can neither upload nor download."""
    async with cloud.client(cloud.member) as client:
        image_id = await client.create(name="one", visibility="shared")
        assert await client.put(image_id, disk_images.raw()) == 204
    names = {"id": image_id, "other": cloud.neighbour.project}

    listed = "[image.id for image in member.list_images()]"
    assert await libcloud.value(listed) == [image_id]
    shown = await libcloud.value("vars(member.get_image(id))", **names)
    assert (shown["name"], shown["extra"]["visibility"]) == ("one", "shared")

    await libcloud.value("member.ex_create_image_member(id, other)", **names)
    assert await cloud.members(image_id) == {names["other"]: "pending"}
    states = "[one.state for one in member.ex_list_image_members(id)]"
    assert await libcloud.value(states, **names) == ["pending"]
    await libcloud.value("neighbour.ex_accept_image_member(id, other)", **names)
    assert await cloud.members(image_id) == {names["other"]: "accepted"}
    state = "member.ex_get_image_member(id, other).state"
    assert await libcloud.value(state, **names) == "accepted"
    assert await libcloud.value("[one.id for one in neighbour.list_images()]") == [image_id]

    change = '[{"op": "replace", "path": "/visibility", "value": "private"}]'
    await libcloud.value(f"member.ex_update_image(id, {change})", **names)
    assert (await cloud.image(image_id)).visibility is Visibility.PRIVATE
    refusal = await libcloud.refusal("neighbour.get_image(id)", **names)
    assert "There is no image" in refusal


async def test_no_other_methods_are_about_images(libcloud: ClientProcess) -> None:
    """A method that a new version brings is tested, or asks Nova."""
    found = await libcloud.value('[name for name in dir(Driver) if "image" in name.lower()]')
    about = {name for name in found if not name.startswith("_") and name.islower()}
    assert {name for name in about if not name.startswith("image_")} <= METHODS | OF_NOVA
    assert about >= METHODS
