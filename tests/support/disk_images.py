"""Disk images made by hand: as little of each format as its readers need to recognise it.

Sources: qcow2 and qed, docs/interop in QEMU's tree; VHD and VHDX, Microsoft's specifications;
VMDK, VMware's "Virtual Disk Format 5.0"; VDI, VirtualBox's VDICore.h; ISO 9660 (ECMA-119);
MBR and GPT, the UEFI specification, chapter 5; LUKS 1, its on-disk format, version 1.2.3.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from uuid import UUID

from imaged.core.limits import KIB, MIB

SECTOR_BYTES = 512

SMALL_BYTES = 64 * KIB  # of an image, where its format asks for no more
DISK_BYTES = 20 * MIB  # of the disk inside


def raw(size_bytes: int = SMALL_BYTES, seed: int = 1) -> bytes:
    """Bytes that mean nothing; nothing in them looks like a partition table."""
    data = bytearray(random.Random(seed).randbytes(size_bytes))
    data[510:512] = bytes(len(data[510:512]))
    return bytes(data)


def qcow2(
    *,
    version: int = 3,
    disk_bytes: int = DISK_BYTES,
    backing_file: bytes = b"",
    incompatible: int = 0,
    encryption: int = 0,
) -> bytes:
    """QEMU's format. Bits of ``incompatible``: 2 is an external data file, 4 extended L2.

    ``encryption``: 1 is AES, 2 LUKS.
    """
    header_bytes = 112
    offset = header_bytes if backing_file else 0
    header = struct.pack(
        ">4sIQIIQI", b"QFI\xfb", version, offset, len(backing_file), 16, disk_bytes, encryption
    ).ljust(72, b"\0")
    if version >= 3:
        header += struct.pack(">QQQII", incompatible, 0, 0, 4, header_bytes)
    return _padded(header.ljust(header_bytes, b"\0") + backing_file)


def qcow1() -> bytes:
    """QEMU's first format."""
    return qcow2(version=1)


def qed() -> bytes:
    """A format that QEMU gave up."""
    return _padded(b"QED\0")


def vhd(
    disk_bytes: int = DISK_BYTES, *, kind: int = 3, footer_kind: int = 0, footer_bytes: int = 0
) -> bytes:
    """A dynamic VHD: it begins with a copy of its footer.

    Kinds: 2 fixed, 3 dynamic, 4 with a parent. ``footer_kind``, ``footer_bytes``: what the footer
    says of kind and size, if not what its copy says.
    """
    footer = vhd_footer(footer_bytes or disk_bytes, footer_kind or kind)
    return _padded(vhd_footer(disk_bytes, kind)) + footer


def fixed_vhd(disk: bytes, *, kind: int = 2) -> bytes:
    """A bare disk with a footer behind it."""
    return disk + vhd_footer(len(disk), kind)


def vhd_footer(disk_bytes: int, kind: int) -> bytes:
    """The sector that describes a VHD; it was smaller when it was made."""
    footer = bytearray(512)
    footer[0:8] = b"conectix"
    footer[40:56] = struct.pack(">QQ", disk_bytes // 2, disk_bytes)
    footer[60:64] = struct.pack(">I", kind)
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    return bytes(footer)


def vhdx(
    disk_bytes: int = DISK_BYTES,
    *,
    metadata_offset: int = 2 * MIB,
    size_length: int = 8,
    flags: int = 0,
    parent_locator: bool = False,
    log: bytes = bytes(16),
) -> bytes:
    """A VHDX: its region table leads to the metadata, and its metadata to the disk's size.

    Bit 1 of ``flags`` says that it has a parent; ``log`` is the id of a log to be replayed.
    """
    image = bytearray(3 * MIB)
    image[0:8] = b"vhdxfile"
    image[64 * KIB : 64 * KIB + 64] = struct.pack("<4sIQ32x16s", b"head", 0, 7, log)
    image[128 * KIB : 128 * KIB + 64] = struct.pack("<4sIQ32x16s", b"head", 0, 6, bytes(16))
    region_table = struct.pack("<4sIII", b"regi", 0, 1, 0)
    region_table += UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
    region_table += struct.pack("<QII", metadata_offset, MIB, 1)
    for at in (192 * KIB, 256 * KIB):
        image[at : at + len(region_table)] = region_table
    entries = [
        ("2fa54224-cd1b-4876-b211-5dbed83bf4b8", 64 * KIB, size_length),
        ("caa16737-fa36-4d43-b3b6-33f0aa44e76b", 64 * KIB + 8, 8),
    ]
    if parent_locator:
        entries.append(("a8d35f2d-b30b-454d-abf7-d3d84834ab0c", 64 * KIB + 16, 64))
    metadata = struct.pack("<8sHH20x", b"metadata", 0, len(entries))
    for item, offset, length in entries:
        metadata += UUID(item).bytes_le + struct.pack("<IIII", offset, length, 0, 0)
    metadata = metadata.ljust(64 * KIB, b"\0") + struct.pack("<QII", disk_bytes, 32 * MIB, flags)
    if metadata_offset < len(image):
        image[metadata_offset : metadata_offset + len(metadata)] = metadata
    return bytes(image)


def vdi(
    disk_bytes: int = DISK_BYTES,
    *,
    version: int = 0x10001,
    kind: int = 1,
    parent: bytes = bytes(16),
) -> bytes:
    """VirtualBox's format. Kinds: 1 dynamic, 2 static, 3 undo, 4 with a parent."""
    header = bytearray(512)
    header[0x40:0x50] = struct.pack("<IIII", 0xBEDA107F, version, 0x190, kind)
    header[0x170:0x178] = struct.pack("<Q", disk_bytes)
    header[0x1A8:0x1B8] = parent
    return _padded(bytes(header))


def allocated_vdi() -> bytes:
    """A VDI of two blocks of a mebibyte, whose second one is first in the file."""
    header = bytearray(vdi(2 * MIB)[:SECTOR_BYTES])
    header[0x154:0x15C] = struct.pack("<II", 512, 1024)
    header[0x178:0x188] = struct.pack("<IIII", MIB, 0, 2, 2)
    table = struct.pack("<II", 1, 0).ljust(512, b"\0")
    return bytes(header) + table + raw(2 * MIB)


def allocated_vhd() -> bytes:
    """A VHD of two blocks of a mebibyte, one of which it has."""
    footer = bytearray(vhd_footer(2 * MIB, 3))
    footer[16:24] = struct.pack(">Q", 512)
    header = bytearray(1024)
    header[0:8] = b"cxsparse"
    header[16:36] = struct.pack(">QIII", 1536, 0x10000, 2, MIB)
    table = struct.pack(">II", 0xFFFFFFFF, 4).ljust(512, b"\xff")
    return bytes(footer + header) + table + b"\xff" * 512 + raw(MIB) + bytes(footer)


def allocated_vhdx() -> bytes:
    """A VHDX of blocks of 32 MiB, one of which it has, behind its table of blocks."""
    image = bytearray(vhdx(64 * MIB, metadata_offset=2 * MIB))
    entry = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
    for at in (192 * KIB, 256 * KIB):
        image[at + 8 : at + 12] = struct.pack("<I", 2)
        image[at + 48 : at + 80] = entry + struct.pack("<QII", 3 * MIB, MIB, 1)
    table = struct.pack("<QQ", 0, 4 << 20 | 6).ljust(MIB, b"\0")
    return bytes(image) + table + bytes(32 * MIB)


def vmdk_descriptor(
    create_type: str = "monolithicFlat",
    extent: str = "disk-flat.vmdk",
    *,
    parent_id: str = "ffffffff",
    more: str = "",
) -> bytes:
    """A VMDK that is all text and names the file with the data. ``more``: lines of its header."""
    kind = "FLAT" if "lat" in create_type else "SPARSE"
    return (
        "# Disk DescriptorFile\n"
        "version=1\n"
        "CID=00000001\n"
        f"parentCID={parent_id}\n"
        f"{more}"
        f'createType="{create_type}"\n'
        "\n"
        "# Extent description\n"
        f'RW {DISK_BYTES // SECTOR_BYTES} {kind} "{extent}"{" 0" if kind == "FLAT" else ""}\n'
        "\n"
        "# The disk data base\n"
        'ddb.adapterType = "ide"\n'
    ).encode()


def vmdk(
    disk_bytes: int = DISK_BYTES,
    create_type: str = "monolithicSparse",
    extent: str = "disk.vmdk",
    *,
    version: int = 1,
    descriptor_sector: int = 1,
    parent_id: str = "ffffffff",
    more: str = "",
) -> bytes:
    """A VMDK in one file: a header, its descriptor, and then grains."""
    descriptor = vmdk_descriptor(create_type, extent, parent_id=parent_id, more=more)
    descriptor = descriptor.ljust(20 * SECTOR_BYTES, b"\0")
    header = _vmdk_header(disk_bytes, version, descriptor_sector, directory=26)
    return _padded(header + descriptor)


def stream_optimized_vmdk(
    disk_bytes: int = DISK_BYTES,
    *,
    footer_version: int = 3,
    parent_id: str = "ffffffff",
    more: str = "",
) -> bytes:
    """A VMDK to be written in one go: its last three sectors say where its tables are."""
    descriptor = vmdk_descriptor("streamOptimized", "disk.vmdk", parent_id=parent_id, more=more)
    descriptor = descriptor.ljust(20 * SECTOR_BYTES, b"\0")
    at_end = 0xFFFF_FFFF_FFFF_FFFF
    header = _vmdk_header(disk_bytes, 3, 1, directory=at_end)
    marker = struct.pack("<QII", 1, 0, 3).ljust(SECTOR_BYTES, b"\0")
    footer = _vmdk_header(disk_bytes, footer_version, 1, directory=26)
    end_of_stream = bytes(SECTOR_BYTES)
    return _padded(header + descriptor) + marker + footer + end_of_stream


def iso(blocks: int = 200) -> bytes:
    """A CD: sixteen free sectors, then the primary volume descriptor."""
    image = bytearray(blocks * 2048)
    descriptor = bytearray(2048)
    descriptor[0:7] = b"\x01CD001\x01"
    descriptor[80:88] = struct.pack("<I", blocks) + struct.pack(">I", blocks)
    descriptor[128:132] = struct.pack("<H", 2048) + struct.pack(">H", 2048)
    image[32 * KIB : 34 * KIB] = descriptor
    return bytes(image)


def udf(
    block_bytes: int = 2048,
    marks: Sequence[bytes] = (b"BEA01", b"NSR02", b"TEA01"),
    disc: bytes = bytes(MIB),
) -> bytes:
    """A disc with UDF: its recognition sequence begins behind 32 KiB, or that of ``disc``."""
    image = bytearray(disc)
    first = int(b"CD001" in disc)
    for place, mark in enumerate(marks, first):
        at = 32 * KIB + place * block_bytes
        image[at : at + 7] = b"\0" + mark + b"\1"
    return bytes(image)


def kernel() -> bytes:
    """A Linux kernel for x86: its boot sector ends like that of a disk (Documentation/arch/x86)."""
    image = bytearray(raw())
    image[0x1F1:0x200] = bytes(13) + b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    return bytes(image)


def ntfs() -> bytes:
    """A file system on a whole disk, whose first sector looks like a partition table."""
    image = bytearray(SMALL_BYTES)
    image[0:11] = b"\xeb\x52\x90NTFS    "
    image[510:512] = b"\x55\xaa"
    return bytes(image)


def mbr(image: bytes = bytes(MIB), partitions: Sequence[bytes] = ()) -> bytes:
    """The same image with a partition table of the old kind in its first sector."""
    table = b"".join(partitions or [partition()]).ljust(64, b"\0")
    return image[:446] + table + b"\x55\xaa" + image[512:]


def partition(kind: int = 0x83, boot: int = 0x80, first: int = 2048, sectors: int = 2048) -> bytes:
    """An entry of such a table."""
    return struct.pack("<B3sB3sII", boot, b"\x00\x02\x00", kind, b"\xff\xff\xff", first, sectors)


def gpt(image: bytes = bytes(MIB)) -> bytes:
    """The same image with a partition table of the new kind, behind a protective old one."""
    protected = mbr(
        image, [partition(kind=0xEE, boot=0, first=1, sectors=len(image) // SECTOR_BYTES)]
    )
    header = b"EFI PART" + struct.pack("<II", 0x10000, 92)
    return protected[:512] + header.ljust(512, b"\0") + protected[1024:]


def hybrid_iso() -> bytes:
    """A CD that boots from a stick too."""
    return mbr(iso())


def luks(version: int = 1, payload_offset: int = 8) -> bytes:
    """A disk that is encrypted as a whole."""
    header = struct.pack(
        ">6sH32s32s32sII20s32sI40s",
        b"LUKS\xba\xbe",
        version,
        b"aes",
        b"xts-plain64",
        b"sha256",
        payload_offset,
        64,
        bytes(20),
        bytes(32),
        1000,
        b"6f1d3c1e-8a6b-4f0e-9f0e-3d1f1f6f7a10",
    )
    return _padded(header)


def fat() -> bytes:
    """A file system on a whole disk, whose first sector looks almost like a partition table."""
    image = bytearray(SMALL_BYTES)
    image[0x10] = 2  # file allocation tables
    image[0x15] = 0xF8  # a fixed disk
    image[510:512] = b"\x55\xaa"
    return bytes(image)


def _vmdk_header(disk_bytes: int, version: int, descriptor_sector: int, directory: int) -> bytes:
    return struct.pack(
        "<4sIIQQQQIQQ",
        b"KDMV",
        version,
        3,
        disk_bytes // SECTOR_BYTES,
        128,
        descriptor_sector,
        20,
        512,
        21,
        directory,
    ).ljust(SECTOR_BYTES, b"\0")


def _padded(image: bytes) -> bytes:
    return image.ljust(SMALL_BYTES, b"\0")
