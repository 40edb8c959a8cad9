"""gophercloud, of Debian's package, signed in through a real Keystone: every function about images.

Terraform, Packer and the controllers of Kubernetes ask for images so. What each function does is
looked up in the catalog; the lists of functions, changes and filters are those of its source.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imaged.core.image import Visibility
from imaged.core.lifecycle import Status
from references.clients import OPERATIONS
from support import disk_images
from support.cloud import Cloud, running_cloud
from support.gophercloud import (
    GoError,
    Gophercloud,
    functions,
    gophercloud,
    list_options,
    patches,
)
from support.keystone import Keystone, User
from support.origin import Origin
from support.task_client import TaskClient

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DISK = disk_images.raw() + os.urandom(1_000_000)
RAW = {"disk_format": "raw", "container_format": "bare"}
NEVER = "0001-01-01T00:00:00Z"  # what Go makes of a time that is null


@dataclass(frozen=True)
class Story:
    """A cloud, and users of it who have signed in with gophercloud."""

    cloud: Cloud
    go: Gophercloud
    origin: Origin

    async def create(self, name: str, **options: object) -> str:
        """A record of the member; its id."""
        made = await self.go.call("member", "images.Create", name=name, **{**RAW, **options})
        image_id: str = made["ID"]
        return image_id

    async def upload(self, image_id: str, file: str = "disk.raw", how: str = "file") -> None:
        """Upload a file of the daemon's folder."""
        await self.go.call("member", "imagedata.Upload", ID=image_id, File=file, As=how)

    async def change(self, image_id: str, **changes: Mapping[str, object]) -> dict[str, Any]:
        """Change an image: types of changes, and their fields; the record then."""
        told = [{"Kind": kind, "Fields": fields} for kind, fields in changes.items()]
        answer = await self.go.call("member", "images.Update", ID=image_id, Patches=told)
        record: dict[str, Any] = answer
        return record

    async def refused(self, user: str, name: str, /, **arguments: object) -> str:
        """The type of the error that a function must return."""
        with pytest.raises(GoError) as error:
            await self.go.call(user, name, **arguments)
        return error.value.kind

    async def data(self, image_id: str) -> bytes:
        """What the service has of an image."""
        async with self.cloud.client(self.cloud.member) as client:
            status, data = await client.request("GET", f"/v2/images/{image_id}/file")
        assert status == 200
        return data


def openrc(cloud: Cloud, user: User) -> Mapping[str, str]:
    """The variables that gophercloud reads: the domain of a user has another name there."""
    return {**cloud.variables(user), "OS_DOMAIN_ID": user.domain}


@pytest_asyncio.fixture
async def story(tmp_path: Path, keystone: Keystone) -> AsyncIterator[Story]:
    """The cloud, and a server that the daemon may fetch from; all three users have signed in."""
    (tmp_path / "disk.raw").write_bytes(DISK)
    async with Origin(DISK, host="127.0.0.2").running() as origin:
        fetch = {"allow": ["127.0.0.2/32"], "ports": [origin.port]}
        async with (
            running_cloud(tmp_path, keystone, fetch=fetch) as cloud,
            gophercloud(tmp_path) as go,
        ):
            for name in ("member", "admin", "neighbour"):
                await go.sign_in(name, openrc(cloud, getattr(cloud, name)))
            yield Story(cloud, go, origin)


@pytest.mark.asyncio
async def test_every_function(story: Story) -> None:
    """None of them is left out."""
    await life(story)
    await changes(story)
    await imports(story)
    await tasks(story)
    await members(story)

    assert story.go.called == functions()


async def life(story: Story) -> None:
    """Create, show, upload in three ways, list, download, delete."""
    go, cloud = story.go, story.cloud
    image_id = "0a3cb4b3-2b2c-4a56-a0f9-8ad1a3ed8c52"
    chosen = {
        "ID": image_id, "visibility": "private", "tags": ["a", "b"],
        "min_disk": 3, "min_ram": 64, "protected": True, "Properties": {"os_distro": "debian"},
    }  # fmt: skip
    made = await go.call("member", "images.Create", name="one", **RAW, **chosen)
    image = await cloud.image(image_id)
    assert (image.name, image.owner, image.status) == ("one", cloud.member.project, Status.QUEUED)
    assert (image.disk_format, image.container_format) == ("raw", "bare")
    assert (image.min_disk_gib, image.min_ram_mib, image.protected) == (3, 64, True)
    assert (image.visibility, image.tags) == (Visibility.PRIVATE, ("a", "b"))
    assert image.properties == {"os_distro": "debian"}
    assert "glance-direct" in made["OpenStackImageImportMethods"]
    assert made["OpenStackImageStoreIDs"] == [cloud.daemon.backend.store]

    # What is null, Go reads as nothing.
    assert (made["SizeBytes"], made["VirtualSize"], made["Checksum"]) == (0, 0, "")
    assert made["Properties"]["os_distro"] == "debian"
    assert made["Properties"]["os_hidden"] is False
    assert NEVER not in {made["CreatedAt"], made["UpdatedAt"]}
    assert (
        await story.refused("member", "images.Delete", ID=image.id) == "gophercloud.ErrDefault403"
    )
    asked = {"ID": image.id, "File": "copy.raw"}
    assert await story.refused("member", "imagedata.Download", **asked)

    for how in ("file", "bytes", "stream"):
        one = await story.create(how)
        await story.upload(one, how=how)
        content = (await cloud.image(one)).content
        assert content is not None
        assert content.hash_value == hashlib.sha512(DISK).hexdigest()
        shown = await go.call("member", "images.Get", ID=one)
        assert (shown["Status"], shown["SizeBytes"], shown["Name"]) == ("active", len(DISK), how)
        assert shown["Checksum"] == hashlib.md5(DISK, usedforsecurity=False).hexdigest()
        assert await go.call("member", "imagedata.Download", ID=one, File="copy.raw") == len(DISK)
        assert (cloud.daemon.folder / "copy.raw").read_bytes() == DISK
        again = {"ID": one, "File": "disk.raw"}
        assert (
            await story.refused("member", "imagedata.Upload", **again)
            == "gophercloud.ErrDefault409"
        )
        private = await story.refused("neighbour", "images.Get", ID=one)
        assert private == "gophercloud.ErrDefault404"
        await go.call("member", "images.Delete", ID=one)
        assert (await cloud.image(one)).status is Status.PENDING_DELETE


async def changes(story: Story) -> None:
    """Each type of change, alone; what only the service sets is refused."""
    cloud, one = story.cloud, await story.create("one")
    done: set[str] = set()

    async def change(kind: str, **fields: object) -> Any:
        done.add(kind)
        await story.change(one, **{kind: fields})
        return await cloud.image(one)

    assert (await change("UpdateVisibility", Visibility="community")).visibility == "community"
    assert (await change("ReplaceImageName", NewName="zwei €")).name == "zwei €"
    assert (await change("ReplaceImageTags", NewTags=["b", "a"])).tags == ("b", "a")
    assert (await change("ReplaceImageTags", NewTags=[])).tags == ()
    assert (await change("ReplaceImageMinDisk", NewMinDisk=5)).min_disk_gib == 5
    assert (await change("ReplaceImageMinRam", NewMinRam=512)).min_ram_mib == 512
    for op, text, expected in (
        ("add", "red", {"colour": "red"}),
        ("replace", "blue", {"colour": "blue"}),
        ("remove", "", {}),
    ):
        image = await change("UpdateImageProperty", Op=op, Name="colour", Value=text)
        assert image.properties == expected
    with pytest.raises(GoError, match="ErrDefault403"):
        await change("ReplaceImageChecksum", Checksum="0" * 32)
    with pytest.raises(GoError, match="ErrDefault409"):
        await change("UpdateImageProperty", Op="remove", Name="colour")
    assert done == patches()

    shown = await story.change(
        one, ReplaceImageName={"NewName": "both"}, ReplaceImageMinDisk={"NewMinDisk": 1}
    )
    assert (shown["Name"], shown["MinDiskGigabytes"]) == ("both", 1)
    await story.go.call("member", "images.Delete", ID=one)


async def imports(story: Story) -> None:
    """Which ways there are, staged data, and from an address."""
    go, cloud = story.go, story.cloud
    info = await go.call("member", "imageimport.Get")
    assert {"glance-direct", "web-download"} <= {*info["ImportMethods"]["Value"]}
    staged, fetched = await story.create("staged"), await story.create("fetched")
    await go.call("member", "imagedata.Stage", ID=staged, File="disk.raw")
    assert (await cloud.image(staged)).status is Status.UPLOADING
    await go.call("member", "imageimport.Create", ID=staged, Method="glance-direct")
    source = {"Method": "web-download", "URI": story.origin.url}
    await go.call("member", "imageimport.Create", ID=fetched, **source)
    async with cloud.client(cloud.member) as client:
        for image_id in (staged, fetched):
            await client.until_status(image_id, "active")
            assert await story.data(image_id) == DISK
    for image_id in (staged, fetched):
        await go.call("member", "images.Delete", ID=image_id)


async def tasks(story: Story) -> None:
    """Create, show, and list by every field."""
    go, cloud = story.go, story.cloud
    one = await story.create("one")
    await story.upload(one)
    order = {"type": "verify", "input": {"image_id": one}}
    made = await go.call("admin", "tasks.Create", **order)
    assert (made["Type"], made["Input"]["image_id"]) == ("verify", one)
    async with cloud.client(cloud.admin) as client:
        await TaskClient(client).end_of(made["ID"])
    shown = await go.call("admin", "tasks.Get", ID=made["ID"])
    assert (shown["Status"], shown["Owner"]) == ("success", cloud.admin.project)
    assert shown["ExpiresAt"] != NEVER
    assert shown["Result"]

    every = [task["ID"] for task in await go.call("admin", "tasks.List")]
    assert every[0] == made["ID"], "the newest first"
    assert len(every) == 3
    cases: Mapping[str, tuple[Mapping[str, object], list[str]]] = {
        "Limit": ({"Limit": 1}, every),
        "Marker": ({"Marker": every[0]}, every[1:]),
        "SortDir": ({"SortDir": "asc"}, every[::-1]),
        "SortKey": ({"SortKey": "type", "SortDir": "desc", "Limit": 2}, [every[0]]),
        "Status": ({"Status": "failure"}, []),
        # These two the client takes, and does not send: all tasks come.
        "ID": ({"id": made["ID"]}, every),
        "Type": ({"type": "verify"}, every),
    }
    assert cases.keys() == list_options("tasks")
    for name, (options, expected) in cases.items():
        listed = [task["ID"] for task in await go.call("admin", "tasks.List", **options)]
        assert listed[: len(expected)] == expected, name
        assert len(listed) == (3 if name == "SortKey" else len(expected)), name
    await go.call("member", "images.Delete", ID=one)


async def members(story: Story) -> None:
    """Share, accept, reject, and stop sharing."""
    go, cloud = story.go, story.cloud
    one, other = await story.create("one", visibility="shared"), cloud.neighbour.project
    subject = {"ID": one, "Member": other}
    made = await go.call("member", "members.Create", **subject)
    assert await cloud.members(one) == {other: "pending"}
    assert (made["ImageID"], made["MemberID"], made["Status"]) == (one, other, "pending")
    assert NEVER not in {made["CreatedAt"], made["UpdatedAt"]}
    for status in ("accepted", "rejected", "pending", "accepted"):
        await go.call("neighbour", "members.Update", **subject, Status=status)
        assert await cloud.members(one) == {other: status}
    (row,) = await go.call("member", "members.List", ID=one)
    assert (row["MemberID"], row["Status"]) == (other, "accepted")
    assert (await go.call("member", "members.Get", **subject))["Status"] == "accepted"
    (shared,) = await go.call("neighbour", "images.List")
    assert (shared["ID"], shared["Owner"]) == (one, cloud.member.project)
    own = await story.refused("member", "members.Update", **subject, Status="accepted")
    assert own == "gophercloud.ErrDefault403"
    await go.call("member", "members.Delete", **subject)
    assert await cloud.members(one) == {}
    await go.call("member", "images.Delete", ID=one)


def test_the_page_of_clients_has_every_function() -> None:
    """And no others."""
    told = {name for one in OPERATIONS for name in one.gophercloud.split(", ") if name}
    assert told == functions()


@pytest.mark.asyncio
async def test_every_filter(story: Story) -> None:
    """Each field of a list finds what it should, page by page too."""
    small = await story.create("small", tags=["a", "b"], visibility="private")
    large = await story.create("large", visibility="private")
    queued = await story.create("queued, too", disk_format="qcow2", visibility="community")
    (story.cloud.daemon.folder / "small.raw").write_bytes(DISK[:1024])
    await story.upload(small, "small.raw")
    await story.upload(large)
    async with story.cloud.client(story.cloud.neighbour) as client:
        shared = await client.create(name="shared", visibility="shared")
        body = {"member": story.cloud.member.project}
        assert (await client.request("POST", f"/v2/images/{shared}/members", json=body))[0] == 200

    by_name = {"Sort": "name:asc"}
    mine = [large, queued, small]
    async with story.cloud.client(story.cloud.member) as client:
        records = {image_id: await client.show(image_id) for image_id in mine}
    cases: Mapping[str, list[tuple[Mapping[str, object], list[str]]]] = {
        "ID": [({"ID": small}, [small]), ({"ID": f"in:{small},{large}"}, [large, small])],
        "Name": [
            ({"Name": "small"}, [small]),
            ({"Name": 'in:small,"queued, too"'}, [queued, small]),
        ],
        "Visibility": [({"Visibility": "community"}, [queued])],
        "MemberStatus": [
            ({"MemberStatus": "pending", "Visibility": "shared"}, [shared]),
            ({"MemberStatus": "all"}, [large, queued, shared, small]),
        ],
        "Owner": [({"Owner": story.cloud.member.project}, mine)],
        "Status": [({"Status": "in:queued,saving"}, [queued]), ({"Status": "killed"}, [])],
        # These two the client takes, and does not send: all images come.
        "SizeMin": [({"SizeMin": 2000}, mine)],
        "SizeMax": [({"SizeMax": 2000}, mine)],
        "Tags": [({"Tags": ["a", "b"]}, [small]), ({"Tags": ["a", "c"]}, [])],
        "CreatedAtQuery": dates("CreatedAtQuery", mine, records),
        "UpdatedAtQuery": dates("UpdatedAtQuery", mine, records),
        "ContainerFormat": [({"ContainerFormat": "in:bare,ami"}, mine)],
        "DiskFormat": [({"DiskFormat": "qcow2"}, [queued])],
        "Limit": [({"Limit": 1}, mine)],
        "Marker": [({"Marker": large}, [queued, small])],
        "Sort": [({"Sort": "size:desc,name:asc"}, [large, small, queued])],
        "SortKey": [({"SortKey": "name", "SortDir": "desc", "Sort": ""}, mine[::-1])],
        "SortDir": [({"SortDir": "asc", "Sort": ""}, [small, large, queued])],
    }
    assert cases.keys() == list_options("images")
    async with story.cloud.client(story.cloud.member) as client:
        for query, expected in (("size_min=2000", [large]), ("size_max=2000", [small])):
            _, page = await client.request("GET", f"/v2/images?{query}")
            assert [image["id"] for image in json.loads(page)["images"]] == expected
    for pairs in cases.values():
        for options, expected in pairs:
            listed = await story.go.call("member", "images.List", **{**by_name, **options})
            assert [image["ID"] for image in listed] == expected, options


def dates(
    name: str, images: list[str], records: Mapping[str, Mapping[str, str]]
) -> list[tuple[Mapping[str, object], list[str]]]:
    """Each comparison with a time before all and after all, in other zones, and with that of the
    first image.
    """
    early, late = "2001-01-01T01:00:00+02:00", "2999-01-01T01:00:00-11:30"
    attribute = name.replace("AtQuery", "_at").lower()
    moment = records[images[0]][attribute]
    same = [one for one in images if records[one][attribute] == moment]
    return [
        ({name: {"Date": early, "Filter": "gt"}}, images),
        ({name: {"Date": early, "Filter": "gte"}}, images),
        ({name: {"Date": early, "Filter": "neq"}}, images),
        ({name: {"Date": late, "Filter": "lt"}}, images),
        ({name: {"Date": late, "Filter": "lte"}}, images),
        ({name: {"Date": late, "Filter": "eq"}}, []),
        ({name: {"Date": moment, "Filter": "eq"}}, same),
        ({name: {"Date": moment}}, same),
    ]


@pytest.mark.asyncio
async def test_a_token_that_has_ended(story: Story) -> None:
    """The client signs in again, and sends the data from its beginning if it can go back there."""
    one = await story.create("one")
    for call, arguments in (
        ("imagedata.Upload", {"ID": one, "File": "disk.raw", "As": "bytes"}),
        ("images.Get", {"ID": one}),
    ):
        signed_in = await story.go.sign_in("member", openrc(story.cloud, story.cloud.member))
        story.cloud.keystone.revoke(signed_in.token)
        await story.go.call("member", call, **arguments)
    assert await story.data(one) == DISK


@pytest.mark.asyncio
async def test_how_users_sign_in(story: Story) -> None:
    """By a password or an application credential; the catalogue says where imaged is."""
    cloud, go = story.cloud, story.go
    there = f"{cloud.daemon.url}/v2/"
    assert (await go.sign_in("ann", openrc(cloud, cloud.member))).url == there
    credential, secret = cloud.keystone.create_credential(cloud.member)
    program = {
        "OS_AUTH_URL": cloud.keystone.url,
        "OS_APPLICATION_CREDENTIAL_ID": credential,
        "OS_APPLICATION_CREDENTIAL_SECRET": secret,
        "OS_REGION_NAME": cloud.region,
    }
    assert (await go.sign_in("program", program)).url == there
    one = (await go.call("program", "images.Create", name="one", **RAW))["ID"]
    assert (await cloud.image(one)).owner == cloud.member.project

    with pytest.raises(GoError, match="DomainID or DomainName"):
        await go.sign_in("ann", cloud.variables(cloud.member))
    with pytest.raises(GoError, match="ErrEndpointNotFound"):
        await go.sign_in("ann", {**openrc(cloud, cloud.member), "OS_REGION_NAME": "elsewhere"})
