"""The tasks `import` and `convert` through the API: what is refused, what is made, and when."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from imaged.core.errors import ConversionFailed
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.http_fetcher import HttpFetcher
from imaged.ports.disk_image import ImportFacts
from support import disk_images
from support.service import Service
from support.settings import configured

pytestmark = pytest.mark.asyncio

URL = "http://images.example/debian.qcow2"
QCOW2 = disk_images.qcow2()
RAW = disk_images.raw()


def asked(**changes: object) -> dict[str, object]:
    """The input of an import."""
    return {
        "import_from": URL,
        "import_from_format": "qcow2",
        "image_properties": {"name": "debian"},
        **changes,
    }


async def post(
    service: Service, fields: Mapping[str, object], type_name: str = "import"
) -> tuple[int, str]:
    """Ask for a task; the status and the answer."""
    body = {"type": type_name, "input": fields}
    reply = await service.call("POST", "/v2/tasks", body)
    return reply.status, reply.text


async def images(service: Service, caller: str = "alice") -> list[dict[str, Any]]:
    """All images that a caller sees."""
    found: list[dict[str, Any]] = (await service.call("GET", "/v2/images", caller=caller)).json()[
        "images"
    ]
    return found


def left_in(folder: Path) -> list[Path]:
    """What is there."""
    return list(folder.iterdir())


def serve(page: bytes = QCOW2, **options: Any) -> Service:
    """A service, and something to import."""
    service = Service(**options)
    service.web.pages[URL] = page
    return service


# what is refused when it is asked for


@pytest.mark.parametrize("name", ["qcow3", "json:{}"])
async def test_a_format_that_the_service_does_not_allow(name: str) -> None:
    """It would be that of the image, so the same sentence as for other images is the answer."""
    service = serve()

    status, text = await post(service, asked(import_from_format=name))

    assert status == 400
    assert "The attribute 'disk_format' must be one of" in text
    assert (service.facts.tasks, service.facts.images, service.web.asked) == ({}, {}, [])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"import_from": None}, "import_from"),
        ({"import_from": 7}, "import_from"),
        ({"import_from": ["http://a/b"]}, "import_from"),
        ({"import_from_format": 1}, "import_from_format"),
        ({"image_properties": "name"}, "image_properties"),
        ({"image_properties": {"name": 1}}, "image_properties"),
        ({"image_properties": {"disk_format": "tape"}}, "import_from_format"),
        ({"image_properties": {"container_format": None, "disk_format": "raw"}}, "image_prop"),
        ({"image_properties": {"container_format": "ovf", "disk_format": "raw"}}, "image_prop"),
        ({"image_properties": {"status": "active"}}, "image_properties"),
        ({"image_properties": {"os_glance_x": "y"}}, "image_properties"),
        ({"image_properties": {"min_ram": -1}}, "image_properties"),
        ({"image_properties": {f"p{n}": "x" for n in range(200)}}, "image_properties"),
        ({"image_properties": {"disk_format": "ploop"}}, "import_from_format"),
        ({"import_from_format": "iso", "image_properties": {"disk_format": "raw"}}, "import_from"),
        ({"checksum": "md5"}, "checksum"),
        ({"checksum": "md5:zz"}, "checksum"),
        ({"checksum": "crc32:00000000"}, "checksum"),
        ({"checksum": "sha256:" + "0" * 32}, "checksum"),
        ({"checksum": 5}, "checksum"),
        ({"more": "than this"}, "more"),
    ],
)
async def test_inputs_that_cannot_be(changes: dict[str, object], field: str) -> None:
    """400 at once, the field is named, and nothing is stored or asked for."""
    service = serve()

    status, text = await post(service, asked(**changes))

    assert (status, service.facts.tasks, service.facts.images, service.web.asked) == (
        400,
        {},
        {},
        [],
    )
    assert f"The field '{field}" in text


@pytest.mark.parametrize("missing", ["import_from", "import_from_format"])
async def test_fields_that_are_needed(missing: str) -> None:
    """The one that is missing is named."""
    fields = {name: value for name, value in asked().items() if name != missing}

    status, text = await post(serve(), fields)

    assert (status, f"'{missing}'" in text, "missing" in text) == (400, True, True)


async def test_a_signed_url_is_shown_to_its_project_alone() -> None:
    """An administrator sees where from, not with which signature; at the end it is gone."""
    service = serve()
    signed = f"{URL}?signature=made-up"
    task = await service.ask_task("import", **asked(import_from=signed))
    path = f"/v2/tasks/{task['id']}"

    assert (await service.call("GET", path)).json()["input"]["import_from"] == signed
    seen = await service.call("GET", path, caller="root")
    assert seen.json()["input"]["import_from"] == f"{URL}?***"

    assert (await service.call("POST", f"{path}/actions/cancel")).status == 200
    assert (await service.call("GET", path)).json()["input"]["import_from"] == f"{URL}?***"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "scheme"),
        ("nonsense", "scheme"),
        ("ftp://images.example/image", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("filesystem:///etc/passwd", "scheme"),
        ("swift+config://images.example/a/b", "scheme"),
        ("http:///image", "host"),
        ("http://127.1/image", "in an unusual form"),
        ("http://169.254.169.254/image", "is not public"),
        ("http://user:made-up@images.example/image", "user name"),
        ("http://images.example:22/image", "fetch.ports"),
        ("http://images.example:99999/image", "cannot be parsed"),
        (f"http://images.example/{'x' * 5000}", "longer"),
    ],
)
async def test_urls_that_are_refused_at_once(url: str, reason: str) -> None:
    """With the reason, and without what may be secret."""
    service = Service(fetcher=HttpFetcher(configured(FetchSettings)))

    status, text = await post(service, asked(import_from=url))

    assert (status, reason in text, "made-up" in text) == (400, True, False), text


async def test_callers_that_may_import() -> None:
    """Callers that may not create images may not import them; nor may members publish them."""
    service = serve()
    body = {"type": "import", "input": asked()}

    for caller in ("carol", "visitor"):
        assert (await service.call("POST", "/v2/tasks", body, caller=caller)).status == 403
    public = asked(image_properties={"visibility": "public"})
    assert (await post(service, public))[0] == 403


# what is made


async def test_an_import() -> None:
    """An image as it was described, of the bytes that were there."""
    service = serve()
    checksum = f"sha256:{hashlib.sha256(QCOW2).hexdigest().upper()}"
    properties = {"name": "debian", "min_ram": 512, "tags": ["stable"], "os_distro": "debian"}

    task = await service.do_task("import", **asked(checksum=checksum, image_properties=properties))
    (image,) = await images(service)

    assert (task["status"], task["message"]) == ("success", None)
    assert task["result"] == {"image_id": image["id"]}
    assert task["image_id"] == image["id"]
    assert task["progress"]["phase"] == "fetching"
    assert task["progress"]["done_bytes"] == len(QCOW2)
    assert (image["status"], image["disk_format"], image["container_format"]) == (
        "active",
        "qcow2",
        "bare",
    )
    assert (image["name"], image["min_ram"], image["tags"], image["os_distro"]) == (
        "debian",
        512,
        ["stable"],
        "debian",
    )
    assert set(service.web.owners) == {"p1"}
    assert image["size"] == len(QCOW2)
    data = await service.call("GET", f"/v2/images/{image['id']}/file")
    assert data.body == QCOW2


async def test_an_import_of_unknown_size() -> None:
    """Its end is where the other side ends."""
    service = serve()
    service.web.says_size = False

    assert (await service.do_task("import", **asked()))["status"] == "success"


async def test_an_import_with_conversion(tmp_path: Path) -> None:
    """Where the image is to be of another format; what is kept is what came of it."""
    service = serve(scratch=tmp_path)

    task = await service.do_task("import", **asked(image_properties={"disk_format": "raw"}))
    (image,) = await images(service)

    assert (task["status"], task["message"]) == ("success", None)
    assert task["progress"]["phase"] == "storing"
    assert service.converter.sources == [QCOW2]
    assert (image["disk_format"], image["size"]) == ("raw", len(RAW))
    assert left_in(tmp_path) == []


async def test_a_converted_image(tmp_path: Path) -> None:
    """Described as its source is, but for the format and what was asked for; both are there."""
    service = serve(scratch=tmp_path)
    source = await service.create_active(RAW, name="disk", os_distro="debian", min_disk=2)

    fields = {"image_id": source, "to_format": "vmdk", "image_properties": {"name": "for them"}}
    task = await service.do_task("convert", **fields)
    found = {image["id"]: image for image in await images(service)}
    made = found[task["result"]["image_id"]]

    assert (task["status"], task["image_id"]) == ("success", source)
    assert (made["name"], made["disk_format"], made["os_distro"], made["min_disk"]) == (
        "for them",
        "vmdk",
        "debian",
        2,
    )
    assert found[source]["disk_format"] == "raw"
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"to_format": "raw"}, 400, "to_format"),
        ({"to_format": "tape"}, 400, "to_format"),
        ({"to_format": "iso"}, 400, "to_format"),
        ({"to_format": None}, 400, "to_format"),
        ({"image_id": "../etc"}, 400, "image_id"),
        ({"image_id": "00000000-0000-4000-8000-00000000dead"}, 404, ""),
        ({"image_properties": {"disk_format": "vdi"}}, 400, "image_properties"),
        ({"image_properties": {"os_glance_x": "1"}}, 400, "image_properties"),
    ],
)
async def test_conversions_that_cannot_be(
    changes: dict[str, object], status: int, field: str
) -> None:
    """They are refused at once."""
    service = serve()
    source = await service.create_active(RAW)

    found, text = await post(
        service, {"image_id": source, "to_format": "qcow2", **changes}, "convert"
    )

    assert (found, f"The field '{field}" in text) == (status, bool(field))
    assert service.facts.tasks == {}


async def test_images_that_cannot_be_converted() -> None:
    """Without data, in a container, deactivated, or of another project."""
    service = serve()
    queued = await service.create()
    boxed = await service.create_active(b"box", container_format="ova")
    off = await service.create_active(RAW)
    await service.call("POST", f"/v2/images/{off}/actions/deactivate", caller="root")
    foreign = await service.create("bob")

    for image_id, status in ((queued, 409), (boxed, 400), (off, 403), (foreign, 404)):
        fields = {"image_id": image_id, "to_format": "qcow2"}
        assert (await post(service, fields, "convert"))[0] == status


# what fails, and leaves nothing


@pytest.mark.parametrize(
    ("page", "changes", "sentence"),
    [
        (RAW, {}, "The data is raw, but 'disk_format' says qcow2"),
        (QCOW2, {"checksum": "md5:" + "0" * 32}, "The md5 of the data is"),
        (disk_images.qcow2(backing_file=b"/etc/passwd"), {}, "a backing file"),
        (disk_images.qcow2(incompatible=4), {}, "external data file"),
        (disk_images.qcow2(disk_bytes=60_000 << 40), {}, "a virtual size that no disk can have"),
        (disk_images.qcow1(), {}, "not known to be safe"),
        (disk_images.qed(), {}, "is qed"),
        (disk_images.mbr(QCOW2), {}, "is gpt and qcow2"),
        (disk_images.vmdk(create_type="monolithicFlat"), {"import_from_format": "vmdk"}, "names"),
        (disk_images.vmdk_descriptor(), {"import_from_format": "vmdk"}, ""),
        (disk_images.luks(), {}, "is luks"),
    ],
)
@pytest.mark.parametrize("converted", [False, True])
async def test_bytes_that_are_refused(
    tmp_path: Path, page: bytes, changes: dict[str, Any], sentence: str, converted: bool
) -> None:
    """By import with and without conversion: said why, never converted, and nothing is left."""
    service = serve(page, scratch=tmp_path)
    source = changes.get("import_from_format", "qcow2")
    target = "vdi" if converted else source
    fields = asked(**changes, image_properties={"disk_format": target})

    task = await service.do_task("import", **fields)

    assert task["status"] == "failure"
    assert sentence in task["message"]
    assert await images(service, "root") == []
    assert (service.converter.sources, service.bytes.blobs) == ([], {})
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("encryption", [1, 2])
async def test_an_encrypted_disk(tmp_path: Path, encryption: int) -> None:
    """Stored as it is; to convert it takes the key, which is not here."""
    service = serve(disk_images.qcow2(encryption=encryption), scratch=tmp_path)

    stored = await service.do_task("import", **asked())
    converted = await service.do_task("import", **asked(image_properties={"disk_format": "raw"}))

    assert (stored["status"], converted["status"]) == ("success", "failure")
    assert "encrypted, and cannot be converted without its key" in converted["message"]
    assert service.converter.sources == []


async def test_a_disk_that_is_larger_than_what_is_accepted(tmp_path: Path) -> None:
    """Few bytes can be a large disk; it is not converted into many."""
    service = serve(disk_images.qcow2(disk_bytes=2**40), scratch=tmp_path, max_size_bytes=2**30)

    task = await service.do_task("import", **asked(image_properties={"disk_format": "raw"}))

    assert "The disk in the image has 1099511627776 bytes" in task["message"]
    assert service.converter.sources == []


@pytest.mark.parametrize("says_size", [False, True])
@pytest.mark.parametrize("disk_format", ["qcow2", "raw"])
async def test_more_bytes_than_are_accepted(
    tmp_path: Path, disk_format: str, says_size: bool
) -> None:
    """Whether the other side says so or not."""
    service = serve(scratch=tmp_path, max_size_bytes=1000)
    service.web.says_size = says_size

    task = await service.do_task("import", **asked(image_properties={"disk_format": disk_format}))

    assert "The data is larger than the limit of 1000 bytes" in task["message"]


async def test_a_conversion_that_fails(tmp_path: Path) -> None:
    """Its sentence is the task's."""
    service = serve(scratch=tmp_path)
    service.converter.error = ConversionFailed("qemu-img says: no")

    task = await service.do_task("import", **asked(image_properties={"disk_format": "raw"}))

    assert task["message"] == "The image could not be converted: qemu-img says: no."
    assert left_in(tmp_path) == []


async def test_a_page_that_is_not_there(service: Service) -> None:
    """Host, phase and reason."""
    task = await service.do_task("import", **asked())

    assert task["message"] == "Fetching from there failed (answer): it answered 404 Not Found."
    assert await images(service, "root") == []


async def test_no_image_is_there_before_its_bytes_have_passed(tmp_path: Path) -> None:
    """Not in lists, not by its id, not for admins: not before, not while, not after a failure."""
    service = serve(scratch=tmp_path)
    service.converter.hold = anyio.Event()
    chosen = "aaaaaaaa-0000-4000-8000-000000000001"
    properties = {"id": chosen, "disk_format": "raw"}

    async def nowhere() -> None:
        for caller in ("alice", "bob", "root"):
            assert await images(service, caller) == []
            for path in (f"/v2/images/{chosen}", f"/v2/images/{chosen}/file"):
                assert (await service.call("GET", path, caller=caller)).status == 404

    task = await service.ask_task("import", **asked(image_properties=properties))
    await nowhere()
    working = asyncio.create_task(service.run_tasks())
    while not service.converter.sources:
        await nowhere()
        await asyncio.sleep(0.01)  # the threads that it waits for are nicer than this loop
    await nowhere()
    service.converter.error = ConversionFailed("it is over")
    service.converter.hold.set()
    await working
    await nowhere()

    shown = (await service.call("GET", f"/v2/tasks/{task['id']}")).json()
    assert (shown["status"], shown["result"]) == ("failure", None)


async def test_a_conversion_that_is_cancelled(tmp_path: Path) -> None:
    """It stops at once, and leaves neither scratch files nor an image."""
    service = serve(scratch=tmp_path)
    service.converter.hold = anyio.Event()
    task = await service.ask_task("import", **asked(image_properties={"disk_format": "raw"}))
    working = asyncio.create_task(service.run_tasks())
    while not service.converter.sources:  # noqa: ASYNC110 - of another task
        await asyncio.sleep(0)

    reply = await service.call("POST", f"/v2/tasks/{task['id']}/actions/cancel")
    await asyncio.wait_for(working, 10)

    assert (reply.status, reply.json()["status"]) == (200, "failure")
    assert left_in(tmp_path) == []
    assert await images(service, "root") == []


# a deployer's checks


class NoPasswords:
    """An import check that refuses a word."""

    name = "no-passwords"

    def __init__(self) -> None:
        self.facts: list[ImportFacts] = []

    def begin(self, facts: ImportFacts) -> Looking:
        """Look at one more image."""
        self.facts.append(facts)
        return Looking()


class Looking:
    """One look."""

    def __init__(self) -> None:
        self._seen = b""

    def feed(self, chunk: bytes) -> None:
        """Remember it."""
        self._seen += chunk

    def verdict(self) -> str | None:
        """Refuse the word; stumble over another one."""
        if b"stumble" in self._seen:
            raise LookupError("the list of words is not there")
        return "it has a password in it." if b"password" in self._seen else None


@pytest.mark.parametrize("target", ["raw", "qcow2"])
async def test_a_check_that_refuses(tmp_path: Path, target: str) -> None:
    """By its name and in its words; with and without conversion."""
    check = NoPasswords()
    service = serve(RAW + b"password", scratch=tmp_path, checks=[check])
    properties = {"disk_format": target, "os_distro": "x"}

    task = await service.do_task(
        "import", **asked(import_from_format="raw", image_properties=properties)
    )

    assert task["message"] == "The check 'no-passwords' refused the image: it has a password in it."
    assert check.facts[0].disk_format == "raw"
    assert check.facts[0].properties == properties
    assert check.facts[0].owner == "p1"
    assert service.converter.sources == []
    assert service.bytes.blobs == {}


async def test_a_check_that_cannot_look() -> None:
    """It lets nothing pass; its mistake is for the log."""
    service = serve(RAW + b"stumble", checks=[NoPasswords()])

    task = await service.do_task(
        "import", **asked(import_from_format="raw", image_properties={"disk_format": "raw"})
    )

    assert task["message"] == "The server made a mistake; its log has the details."
    assert await images(service, "root") == []
