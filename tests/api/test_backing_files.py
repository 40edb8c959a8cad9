"""Disks that keep a part of their data in a parent: refused on every way in, never converted."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaged.core.disk_format import Flaw, FormatPolicy
from support import disk_images
from support.service import OCTETS, Service
from support.settings import configured

pytestmark = pytest.mark.asyncio

CHILDREN = {
    "qcow2": (disk_images.qcow2(backing_file=b"/etc/hostname"), Flaw.BACKING_FILE),
    "vmdk": (
        disk_images.vmdk(parent_id="1", more='parentFileNameHint="/etc/hostname"\n'),
        Flaw.PARENT,
    ),
    "vhd": (disk_images.vhd(kind=4), Flaw.PARENT),
    "vhdx": (disk_images.vhdx(flags=0b10), Flaw.PARENT),
    "vdi": (disk_images.vdi(kind=4), Flaw.PARENT),
}


def sentence(flaw: Flaw) -> str:
    """What is said of it."""
    return f"The data is refused because it has {flaw.phrase}. {flaw.remedy}"


@pytest.mark.parametrize("way", ["file", "stage"])
@pytest.mark.parametrize("disk_format", CHILDREN)
async def test_sent_by_a_client(disk_format: str, way: str) -> None:
    """415 for uploads and for staging; no byte of it stays, and no path of the server is told."""
    data, flaw = CHILDREN[disk_format]
    service = Service()
    image_id = await service.create(disk_format=disk_format)

    reply = await service.call(
        "PUT", f"/v2/images/{image_id}/{way}", data, headers={"content-type": OCTETS}
    )

    assert reply.status == 415
    assert sentence(flaw) in reply.text
    assert "/etc" not in reply.text
    assert service.bytes.blobs == {}


@pytest.mark.parametrize("disk_format", CHILDREN)
async def test_stored_before_they_were_refused(tmp_path: Path, disk_format: str) -> None:
    """An image that is there already can be read, and not be converted."""
    data, flaw = CHILDREN[disk_format]
    service = Service(scratch=tmp_path, formats=configured(FormatPolicy, refuse_unsafe=False))
    image_id = await service.create(disk_format=disk_format)
    headers = {"content-type": OCTETS}
    await service.call("PUT", f"/v2/images/{image_id}/file", data, headers=headers)

    task = await service.do_task("convert", image_id=image_id, to_format="raw")

    assert (task["status"], task["message"]) == ("failure", sentence(flaw))
    assert service.converter.sources == []
