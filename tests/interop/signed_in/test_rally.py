"""Rally's scenarios about images, which its users run to measure a cloud, signed in to Keystone.

What each does is looked up in the catalog, and in the log of calls. The list of scenarios is that
of the plugin for OpenStack.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import Status
from support import disk_images
from support.cloud import Cloud, running_cloud
from support.keystone import Keystone
from support.origin import Origin
from support.rally import Rally

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]

DISK = disk_images.raw()
RAW = {"container_format": "bare", "disk_format": "raw"}
FILE = {**RAW, "image_location": "disk.raw"}
NAME = re.compile(r"[cs]_rally_\w+")

TWO_AT_ONCE = {"constant": {"times": 2, "concurrency": 2}}

#: They boot servers, which is Nova's work: it is not there.
OF_NOVA = {"create_image_and_boot_instances"}

CREATED = ("GET 200", "PUT /file 204", "GET 200")
CLEANED = ("DELETE 204", "GET 404")  # what a scenario leaves, Rally deletes, and looks


@dataclass(frozen=True)
class Scenario:
    """A scenario of images, and the calls about each of its images; again and again counts once.

    ``mark`` is the argument that becomes the memory its images need, by which they are found.
    """

    name: str
    calls: Sequence[str]
    arguments: Mapping[str, object] = field(default_factory=lambda: FILE)
    mark: str = "min_ram"
    properties: Mapping[str, str] = field(default_factory=dict)  # at the end

    def subtask(self, mark: int, **contexts: object) -> Mapping[str, object]:
        """What Rally is to do."""
        arguments = {**self.arguments, self.mark: mark}
        return subtask(f"GlanceImages.{self.name}", arguments, contexts)


def subtask(
    name: str, arguments: Mapping[str, object], contexts: Mapping[str, object]
) -> Mapping[str, object]:
    """A part of a task of Rally: a scenario twice, at once."""
    scenario = {name: arguments}
    return {"title": name, "scenario": scenario, "runner": TWO_AT_ONCE, "contexts": contexts}


DOWNLOAD = Scenario("create_and_download_image", [*CREATED, "GET /file 200", *CLEANED])
GET = Scenario("create_and_get_image", [*CREATED, *CLEANED])


def scenarios(origin: Origin) -> Mapping[int, Scenario]:
    """All that make images, by their marks."""
    actions = ("POST /actions/deactivate 204", "POST /actions/reactivate 204")
    properties = {"colour": "red", "os_distro": "debian"}
    update = {
        "create_properties": properties, "remove_props": ["colour"], "create_min_ram": 1,
        "update_min_disk": 3,
    }  # fmt: skip
    fetch = {"image_location": origin.url, "import_method": "web-download"}
    imported = ("POST /import 202", "GET 200", "DELETE 204")
    made = [
        DOWNLOAD,
        GET,
        Scenario("create_and_list_image", [*CREATED, *CLEANED]),
        Scenario("create_and_delete_image", [*CREATED, "DELETE 204"]),
        Scenario("create_and_deactivate_image", [*CREATED, *actions, *CLEANED]),
        Scenario(
            "create_and_update_image",
            [*CREATED, "PATCH 200", "GET 200", *CLEANED],
            FILE | update, "update_min_ram", {"os_distro": "debian"},
        ),
        Scenario("import_and_delete_image", ["GET 200", "PUT /stage 204", *imported]),
        Scenario("import_and_delete_image", ["GET 200", *imported], RAW | fetch),
    ]  # fmt: skip
    return dict(enumerate(made, 100))


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    """A server that the daemon may fetch from."""
    async with Origin(DISK, host="127.0.0.2").running() as origin:
        yield origin


@pytest_asyncio.fixture
async def cloud(tmp_path: Path, keystone: Keystone, origin: Origin) -> AsyncIterator[Cloud]:
    """One whose daemon logs each call."""
    (tmp_path / "disk.raw").write_bytes(DISK)
    log = {"level": "debug", "format": "json"}
    fetch = {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]}
    async with running_cloud(tmp_path, keystone, log=log, fetch=fetch) as cloud:
        yield cloud


@pytest_asyncio.fixture
async def rally(cloud: Cloud) -> Rally:
    """The newest version, in an environment of its own; it knows a member."""
    rally = Rally(cloud)
    await rally.prepare([cloud.member], cloud.admin)
    return rally


async def test_first_steps(rally: Rally, cloud: Cloud) -> None:
    """Sign in, create with a file, download, delete."""
    await rally.start(DOWNLOAD.subtask(100))

    await require_done(cloud, {100: DOWNLOAD})


@pytest.mark.clients
async def test_every_scenario(rally: Rally, cloud: Cloud, origin: Origin) -> None:
    """None of them is left out but those of servers."""
    marks = scenarios(origin)
    reports = await rally.start(*(one.subtask(mark) for mark, one in marks.items()))

    assert [report["total_iteration_count"] for report in reports] == [2] * len(marks)
    await require_done(cloud, marks)
    listed = await rally.run("plugin list --plugin-base Scenario")
    known = {*re.findall(r"GlanceImages\.(\w+)", listed)}
    assert known == {one.name for one in marks.values()} | {"list_images"} | OF_NOVA


@pytest.mark.clients
async def test_lists(rally: Rally, cloud: Cloud) -> None:
    """Of what Rally has made before, and as the only call."""
    images = {"image_url": "disk.raw", **RAW, "min_ram": 100, "images_per_tenant": 2}
    await rally.start(subtask("GlanceImages.list_images", {}, {"images": images}))
    await require_done(cloud, {100: Scenario("list_images", [*CREATED, *CLEANED])})

    before = len(cloud.daemon.told("request.finished"))
    await rally.start(
        subtask("GlanceImages.list_images", {}, {}),
        subtask("Authenticate.validate_glance", {"repetitions": 2}, {}),
    )
    calls = cloud.daemon.told("request.finished")[before:]
    told = [(call["method"], call["path"], call["status"]) for call in calls]
    assert told == [("GET", "/v2/images", 200)] * (2 + 2 * 2)
    assert {call["project_id"] for call in calls} == {cloud.member.project}


@pytest.mark.clients
async def test_projects_that_rally_makes(cloud: Cloud) -> None:
    """With an admin alone, Rally makes users and projects; theirs are the images."""
    rally = Rally(cloud)
    await rally.prepare([], cloud.admin)
    users = {"tenants": 2, "users_per_tenant": 1, "user_choice_method": "round_robin"}

    await rally.start(GET.subtask(100, users=users))

    images = await images_by_mark(cloud)
    await require_calls(cloud, GET, images[100])
    owners = {image.owner for image in images[100]}
    assert len(owners - {cloud.admin.project}) == 2
    left = [cloud.keystone.ask("GET", f"/projects/{owner}").status for owner in owners]
    assert left == [404, 404]


async def images_by_mark(cloud: Cloud) -> Mapping[int, Sequence[Image]]:
    """All images that there ever were, as the catalog has them."""
    found: dict[int, list[Image]] = {}
    for event in cloud.daemon.told("image.created"):
        image = await cloud.image(event["image_id"])
        found.setdefault(image.min_ram_mib, []).append(image)
    return found


async def require_done(cloud: Cloud, marks: Mapping[int, Scenario]) -> None:
    """Each scenario was run twice; its images are what it made of them."""
    images = await images_by_mark(cloud)
    assert images.keys() == marks.keys()
    for mark, scenario in marks.items():
        await require_calls(cloud, scenario, images[mark])
        assert len(images[mark]) == 2, scenario
        for image in images[mark]:
            assert image.owner == cloud.member.project
            assert image.properties == scenario.properties
            assert image.min_disk_gib == scenario.arguments.get("update_min_disk", 0)


async def require_calls(cloud: Cloud, scenario: Scenario, images: Sequence[Image]) -> None:
    """The calls about each image; they had the file, and are deleted."""
    for image in images:
        assert NAME.fullmatch(image.name or "")
        assert (image.status, image.visibility) == (Status.PENDING_DELETE, Visibility.PRIVATE)
        assert image.content is not None
        assert image.content.hash_value == hashlib.sha512(DISK).hexdigest()
        path = f"/v2/images/{image.id}"
        calls = [
            f"{call['method']} {call['path'].removeprefix(path)} {call['status']}".replace(
                "  ", " "
            )
            for call in cloud.daemon.told("request.finished")
            if call["path"].startswith(path)
        ]
        assert [call for call, _ in groupby(calls)] == [*scenario.calls], scenario
