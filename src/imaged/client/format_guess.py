"""What an image's formats seem to be: by its first bytes, by its last name, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from imaged.client.errors import FileUnusable

HEAD_BYTES = 64 * 1024  # as much as any of the marks below needs

#: Where a format has its mark: offset, mark, disk format.
SIGNATURES = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"WithoutFreeSpace", "ploop"),
    (0, b"WithouFreSpacExt", "ploop"),
    (0x8001, b"CD001", "iso"),
)

#: What is packed has no format of a disk before it is unpacked.
COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
)

#: Formats without a mark at their beginning: a fixed vhd has its mark at the end.
BY_SUFFIX: Mapping[str, tuple[str, str]] = {
    ".vhd": ("vhd", "bare"),
    ".vpc": ("vhd", "bare"),
    ".ova": ("vmdk", "ova"),
    ".ami": ("ami", "ami"),
    ".aki": ("aki", "aki"),
    ".ari": ("ari", "ari"),
}


@dataclass(frozen=True, slots=True)
class Formats:
    """What an image is declared to be, and why."""

    disk: str
    container: str
    why: str  # "" where nothing was guessed


def choose_formats(
    head: bytes, name: str, disk: str | None = None, container: str | None = None
) -> Formats:
    """What is given wins; the rest is guessed. Raises FileUnusable for what is packed."""
    if disk is not None and container is not None:
        return Formats(disk, container, "")
    guess = _guess(head, name, is_told=disk is not None)
    return Formats(disk or guess.disk, container or guess.container, guess.why)


def _guess(head: bytes, name: str, *, is_told: bool) -> Formats:
    for offset, mark, disk in SIGNATURES:
        if head[offset : offset + len(mark)] == mark:
            return Formats(disk, "bare", "by its content")
    suffix = PurePath(name).suffix.lower()
    if suffix in BY_SUFFIX:
        return Formats(*BY_SUFFIX[suffix], f"by its name, which ends in {suffix}")
    if not is_told:
        _refuse_compressed(head, name)
    return Formats("raw", "bare", "as nothing else is known in it")


def _refuse_compressed(head: bytes, name: str) -> None:
    for mark, packing in COMPRESSED:
        if head.startswith(mark):
            raise FileUnusable(
                f"{name} is packed by {packing}, so what is in it cannot be guessed.",
                "Unpack it first, or say what it is by --disk-format and --container-format.",
            )
