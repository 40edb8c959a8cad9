"""Detecting truncated disks, with hand-made images."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imaged.conversion.truncation import missing_bytes
from imaged.core.limits import MIB
from support import disk_images

WHOLE: dict[str, Callable[[], bytes]] = {
    "vdi": disk_images.allocated_vdi,
    "vhd": disk_images.allocated_vhd,
    "vhdx": disk_images.allocated_vhdx,
}


def missing(tmp_path: Path, data: bytes, disk_format: str) -> int:
    """The bytes missing in a file with this content."""
    (tmp_path / "image").write_bytes(data)
    return missing_bytes(tmp_path / "image", disk_format)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("cut_bytes", [0, 513, 4096, MIB])
def test_a_disk_that_was_cut(tmp_path: Path, name: str, cut_bytes: int) -> None:
    """The missing bytes are counted; a VHD has its footer behind the last block."""
    footer_bytes = 512 if name == "vhd" else 0
    image = WHOLE[name]()

    found = missing(tmp_path, image[: len(image) - cut_bytes], name)

    assert found == max(cut_bytes - footer_bytes, 0)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("left_bytes", [0, 9, 100, 600])
def test_a_disk_without_its_headers(tmp_path: Path, name: str, left_bytes: int) -> None:
    """Something is missing, however little is left."""
    data = WHOLE[name]()[:left_bytes]
    is_vhd = name != "vhd" or data.startswith(b"conectix")

    assert (missing(tmp_path, data, name) > 0) is is_vhd


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "raw"])
def test_formats_that_are_looked_through_elsewhere(tmp_path: Path, name: str) -> None:
    """qemu-img checks them, and a raw disk has no tables."""
    assert missing(tmp_path, b"anything", name) == 0


def test_a_fixed_vhd(tmp_path: Path) -> None:
    """It has no tables either: with its footer, all of it is there."""
    assert missing(tmp_path, disk_images.fixed_vhd(bytes(MIB)), "vhd") == 0


def test_offsets_that_no_file_can_have(tmp_path: Path) -> None:
    """They count as missing, without an error."""
    data = bytearray(disk_images.allocated_vhd())
    data[16:24] = struct.pack(">Q", 2**64 - 1)  # where its second header is
    assert missing(tmp_path, bytes(data), "vhd") > 0
    data[16:24] = struct.pack(">Q", 2**63 - 1)
    assert missing(tmp_path, bytes(data), "vhd") > 0
