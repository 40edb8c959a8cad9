"""Bit rot in what a task reads: it never becomes a healthy image or file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imaged.core.lifecycle import Status
from support.disk_images import raw
from support.service import OCTETS, Service

pytestmark = pytest.mark.asyncio

DATA = raw()

READERS: Mapping[str, tuple[str, dict[str, object]]] = {
    "convert": ("convert", {"to_format": "qcow2"}),
    "export": ("export", {"export_to": "archive"}),
    "export in another format": ("export", {"export_to": "archive", "export_format": "qcow2"}),
    "clone into another store": ("clone", {"store": "near"}),
}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """One that can convert."""
    return Service(scratch=tmp_path)


def rotten(service: Service, key: str, how: str) -> bytes:
    """Let the bytes of a blob rot."""
    data = bytearray(service.bytes.blobs[key])
    match how:
        case "a bit":
            data[len(data) // 2] ^= 0x10
        case "the end":
            del data[-1:]
    service.bytes.blobs[key] = bytes(data)
    return bytes(data)


@pytest.mark.parametrize("reader", READERS)
async def test_damage_is_never_laundered(service: Service, reader: str) -> None:
    """Whole data is read and used. Damaged data makes the task fail with a sentence, and the source
    is marked; nothing is made of it, though no checksum of a block was recorded.
    """
    type_name, fields = READERS[reader]
    image_id = await service.create_active(DATA)
    assert (await service.do_task(type_name, image_id=image_id, **fields))["status"] == "success"
    images, files = len(service.facts.images), dict(service.shelf.files)
    service.facts.block_checksums.clear()  # as for bytes of versions before
    rotten(service, service.image(image_id).locations[0].key, "a bit")

    with capture_logs() as lines:
        name = {"file_name": "again"} if type_name == "export" else {}
        task = await service.do_task(type_name, image_id=image_id, **fields, **name)

    assert task["status"] == "failure"
    assert task["message"].startswith("The data of the image is damaged. In the store 'local'")
    assert "has the checksum" in (service.image(image_id).damage or "")
    assert "image.damaged" in {line["event"] for line in lines}
    assert service.shelf.files == files
    whole = [image for image in service.facts.images.values() if image.status is Status.ACTIVE]
    assert len(whole) == images


@pytest.mark.parametrize("how", ["a bit", "the end"])
async def test_staged_bytes_are_compared(service: Service, how: str) -> None:
    """With the digests that they had when they were staged; the owner is told to do it again."""
    image_id = await service.create()
    path = f"/v2/images/{image_id}"
    headers = {"content-type": OCTETS}
    assert (await service.call("PUT", f"{path}/stage", DATA, headers=headers)).status == 204
    staged = service.image(image_id).staged
    assert staged is not None
    rotten(service, staged.key, how)
    assert (
        await service.call("POST", f"{path}/import", {"method": {"name": "glance-direct"}})
    ).status == 202

    with capture_logs() as lines:
        await service.run_tasks()

    image = service.image(image_id)
    assert image.content is None
    assert image.last_failure is not None
    assert image.last_failure.reason.startswith("The staged data is damaged. In the store 'local'")
    assert image.last_failure.reason.endswith("with the header X-Imaged-Replace: true.")
    assert "image.damaged" in {line["event"] for line in lines}


async def test_staged_bytes_of_versions_before(service: Service) -> None:
    """They have no digests, and are imported as they are."""
    image_id = await service.create()
    path = f"/v2/images/{image_id}"
    headers = {"content-type": OCTETS}
    await service.call("PUT", f"{path}/stage", DATA, headers=headers)
    image = service.image(image_id)
    service.facts.images[image_id] = replace(image, staged_content=None)

    await service.call("POST", f"{path}/import", {"method": {"name": "glance-direct"}})
    await service.run_tasks()

    assert service.image(image_id).status is Status.ACTIVE
