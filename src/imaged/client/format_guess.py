"""A guess of an image's formats, by its first bytes or its file name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from imaged.client.errors import FileUnusable

HEAD_BYTES = 64 * 1024  # enough for all signatures below

#: Signatures of formats: offset, bytes, disk format.
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

#: Signatures of compressed files, whose disk format is unknown.
COMPRESSED = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
)

#: Formats without a signature at the beginning; a fixed VHD has its own at the end.
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
    """The declared formats, and the reason for a guess."""

    disk: str
    container: str
    why: str  # "" where nothing was guessed


def choose_formats(
    head: bytes, name: str, disk: str | None = None, container: str | None = None
) -> Formats:
    """The given formats; missing ones are guessed. Raises FileUnusable for compressed files."""
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
    return Formats("raw", "bare", "as no other format was recognised")


def _refuse_compressed(head: bytes, name: str) -> None:
    for mark, packing in COMPRESSED:
        if head.startswith(mark):
            raise FileUnusable(
                f"{name} is compressed by {packing}, so its format cannot be guessed.",
                "Decompress it first, or give --disk-format and --container-format.",
            )
