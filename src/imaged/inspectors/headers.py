"""Readers of the headers of files, each a pure function of bytes.

They read what oslo's inspectors do not: parents, footers, encryption, and features that are safe
but unknown to oslo. Sources: qcow2, docs/interop/qcow2.rst in QEMU's tree; VDI, VirtualBox's
VDICore.h; VMDK, VMware's "Virtual Disk Format 5.0"; UDF, ECMA-167, 2/8 and 2/9; VHD, Microsoft's
"Virtual Hard Disk Image Format Specification" of 2006; VHDX, [MS-VHDX].

They also recognise files that are often uploaded in place of a disk. Sources: RFC 1952 (gzip), RFC
8878 (zstd), the .xz and LZ4 frame formats, bzip2, PKWARE's APPNOTE (zip), 7zFormat.txt, POSIX
(ustar), and the WHATWG's MIME sniffing standard for HTML.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from imaged.core.disk_format import Flaw, Lookalike
from imaged.core.limits import KIB, MIB

SECTOR_BYTES = 512

_QCOW2 = struct.Struct(">4sIQIIQI")  # up to crypt_method
_QCOW2_WITHOUT_FEATURES, _QCOW2_WITH_FEATURES = 2, 3  # versions
_QCOW2_INCOMPATIBLE_AT = 72
_QCOW2_KNOWN = 0b11111  # dirty, corrupt, external data file, compression type, extended L2

_VDI_SIGNATURE = 0xBEDA107F
_VDI_VERSION = 0x00010001
_VDI_ALONE = frozenset({1, 2})  # dynamic and static; 3 is an undo log, 4 a differencing disk
_VDI_PARENTS = (0x1A8, 0x1B8)  # uuidLinkage and uuidParentModify

_VMDK = struct.Struct("<4sIIQQQQ")
_VMDK_DESCRIPTOR_AT = SECTOR_BYTES
_VMDK_LEAST_READ = 20 * SECTOR_BYTES  # the range in which QEMU searches for a parent's name
_VMDK_MAX_DESCRIPTOR = MIB - 1
_NO_PARENT = 0xFFFFFFFF
_PARENT_ID = re.compile(rb"^[ \t]*parentcid[ \t]*=[ \t]*([0-9a-f]+)", re.MULTILINE)
_PARENT_NAME = b"parentfilenamehint"
_BEYOND_ASCII = bytes(range(128)) + b"?" * 128
_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1b\x7f]")

_UDF_AT = 32 * KIB
_UDF_MAX_STRUCTURES = 16
_UDF_BLOCKS = (2048, 4096)
_UDF_MARKS = frozenset({b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01"})

VHD_FOOTER_BYTES = 512
_VHD_COOKIE = b"conectix"
_VHD_FIXED, _VHD_DYNAMIC, _VHD_DIFFERENCING = 2, 3, 4
_VHD_CHECKSUM_AT = 64

_VHDX_HEADERS = (64 * KIB, 128 * KIB)
_VHDX_HEADER = struct.Struct("<4sIQ32x16s")  # up to LogGuid
_VHDX_REGION_TABLES = (192 * KIB, 256 * KIB)
_VHDX_TABLE_BYTES = 64 * KIB
_VHDX_ENTRY_BYTES = 32
_VHDX_MAX_ENTRIES = 2047
_VHDX_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_VHDX_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_VHDX_PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
_VHDX_PARAMETERS = struct.Struct("<II")  # the size of a block, and flags
_VHDX_HAS_PARENT = 1 << 1

_SIGNATURES: Sequence[tuple[int, bytes, Lookalike]] = (
    (0, b"\x1f\x8b\x08", Lookalike.GZIP),
    (0, b"\xfd7zXZ\0", Lookalike.XZ),
    (0, b"\x28\xb5\x2f\xfd", Lookalike.ZSTD),
    (4, b"1AY&SY", Lookalike.BZIP2),
    (0, b"\x04\x22\x4d\x18", Lookalike.LZ4),
    (0, b"PK\x03\x04", Lookalike.ZIP),
    (0, b"7z\xbc\xaf\x27\x1c", Lookalike.SEVEN_ZIP),
    (257, b"ustar", Lookalike.TAR),
)
_HTML_WITHIN_BYTES = 512
_HTML = (b"<!doctype html", b"<html")
_BEFORE_HTML = b"\xef\xbb\xbf \t\r\n\x0c"  # a byte order mark, and white space


@dataclass(frozen=True, slots=True)
class HeaderFindings:
    """The findings in the headers of one format."""

    format: str
    flaws: tuple[Flaw, ...] = ()
    virtual_size_bytes: int | None = None  # if it is known better here than by oslo
    is_encrypted: bool = False


def read_qcow2(head: bytes) -> HeaderFindings | None:
    """Features and encryption of a qcow2; None for other data."""
    if len(head) < _QCOW2.size or not head.startswith(b"QFI\xfb"):
        return None
    version, crypt_method = _QCOW2.unpack_from(head)[1::5]
    known = version == _QCOW2_WITHOUT_FEATURES
    if version == _QCOW2_WITH_FEATURES and len(head) >= _QCOW2_INCOMPATIBLE_AT + 8:
        (incompatible,) = struct.unpack_from(">Q", head, _QCOW2_INCOMPATIBLE_AT)
        known = not incompatible & ~_QCOW2_KNOWN
    flaws = () if known else (Flaw.UNKNOWN_FEATURES,)
    return HeaderFindings("qcow2", flaws, is_encrypted=crypt_method != 0)


def read_vdi(head: bytes) -> HeaderFindings | None:
    """Version and parent of a VDI; None for other data."""
    if len(head) < SECTOR_BYTES:
        return None
    signature, version, _, kind = struct.unpack_from("<IIII", head, 0x40)
    if signature != _VDI_SIGNATURE:
        return None
    if version != _VDI_VERSION:
        return HeaderFindings("vdi", (Flaw.UNKNOWN_FEATURES,))
    has_parent = any(any(head[at : at + 16]) for at in _VDI_PARENTS)
    return HeaderFindings("vdi", (Flaw.PARENT,) if has_parent or kind not in _VDI_ALONE else ())


def read_vmdk(head: bytes) -> HeaderFindings | None:
    """Parent of a VMDK, and whether its data is in the same file; None for other data.

    Oslo's inspector recognises a descriptor that is a file of its own.
    """
    if len(head) < _VMDK.size or not head.startswith(b"KDMV"):
        return None
    *_, capacity, _, _, descriptor_sectors = _VMDK.unpack_from(head)
    length = max(descriptor_sectors * SECTOR_BYTES, _VMDK_LEAST_READ)
    text = head[_VMDK_DESCRIPTOR_AT:][: min(length, _VMDK_MAX_DESCRIPTOR)]
    flaws = []
    if _has_vmdk_parent(text):
        flaws.append(Flaw.PARENT)
    if not capacity:  # then QEMU opens the extents that the descriptor names
        flaws.append(Flaw.DESCRIPTOR)
    return HeaderFindings("vmdk", tuple(flaws))


def _has_vmdk_parent(descriptor: bytes) -> bool:
    """Whether a descriptor names a parent, by its content id or its file."""
    text = descriptor.partition(b"\0")[0].replace(b"\r", b"\n").lower()
    parents = [int(found, 16) for found in _PARENT_ID.findall(text)]
    return _PARENT_NAME in text or any(parent != _NO_PARENT for parent in parents)


def with_ascii_descriptor(head: bytes) -> bytes:
    """The same beginning of a stream, with '?' for non-ASCII characters in a VMDK's descriptor.

    Descriptors may have names and comments in other encodings (``encoding=``), but oslo's inspector
    accepts only ASCII. Binary data is returned as it is: a mebibyte takes longer than its digest.
    """
    if not head.startswith(b"KDMV"):
        is_binary = _NOT_IN_TEXT.search(head, 0, SECTOR_BYTES)  # oslo's measure of a descriptor
        return head if is_binary else head.translate(_BEYOND_ASCII)
    if len(head) < _VMDK.size:
        return head
    sectors = _VMDK.unpack_from(head)[-1]
    end = _VMDK_DESCRIPTOR_AT + min(sectors * SECTOR_BYTES, _VMDK_MAX_DESCRIPTOR)
    text = head[_VMDK_DESCRIPTOR_AT:end].translate(_BEYOND_ASCII)
    return head[:_VMDK_DESCRIPTOR_AT] + text + head[end:]


def read_udf(head: bytes) -> HeaderFindings | None:
    """A disc with UDF; None without its recognition sequence."""
    return HeaderFindings("udf") if any(_has_udf(head, block) for block in _UDF_BLOCKS) else None


def _has_udf(head: bytes, block_bytes: int) -> bool:
    """Whether the volume recognition sequence has UDF's descriptor (ECMA-167, 2/9 and 3/9.1)."""
    end = _UDF_AT + _UDF_MAX_STRUCTURES * block_bytes
    for at in range(_UDF_AT, end, block_bytes):
        mark = head[at + 1 : at + 6]
        if mark in (b"NSR02", b"NSR03"):
            return True
        if mark not in _UDF_MARKS:
            return False
    return False


@dataclass(frozen=True, slots=True)
class _VhdFooter:
    """The footer of a VHD, at its end and usually copied to its beginning."""

    size_bytes: int
    kind: int
    is_intact: bool  # according to its checksum


def _parse_vhd_footer(sector: bytes) -> _VhdFooter | None:
    """The footer in 512 bytes; None if they are something else."""
    if len(sector) != VHD_FOOTER_BYTES or not sector.startswith(_VHD_COOKIE):
        return None
    (size_bytes,) = struct.unpack_from(">Q", sector, 48)  # the current size, not the original one
    kind, checksum = struct.unpack_from(">II", sector, 60)
    summed = sum(sector) - sum(sector[_VHD_CHECKSUM_AT : _VHD_CHECKSUM_AT + 4])
    return _VhdFooter(size_bytes, kind, checksum == ~summed & 0xFFFFFFFF)


def read_vhd(first: bytes, last: bytes, stream_bytes: int) -> HeaderFindings | None:
    """A VHD by its first and last 512 bytes; None for other data.

    A fixed VHD is the bare disk followed by a footer. The others begin with a copy of the footer;
    QEMU reads that copy, Windows the footer.
    """
    copy, footer = _parse_vhd_footer(first), _parse_vhd_footer(last)
    if copy is not None:
        return _read_vhd_with_copy(copy, footer if stream_bytes > VHD_FOOTER_BYTES else None)
    if footer is None or not footer.is_intact:
        return None
    flaws: tuple[Flaw, ...] = ()
    if footer.kind == _VHD_DIFFERENCING:
        flaws = (Flaw.PARENT,)
    elif footer.kind != _VHD_FIXED or footer.size_bytes > stream_bytes - VHD_FOOTER_BYTES:
        flaws = (Flaw.UNREADABLE,)  # its beginning is missing
    return HeaderFindings("vhd", flaws, footer.size_bytes)


def _read_vhd_with_copy(copy: _VhdFooter, footer: _VhdFooter | None) -> HeaderFindings:
    kinds = {copy.kind} if footer is None else {copy.kind, footer.kind}
    flaws = []
    if _VHD_DIFFERENCING in kinds:
        flaws.append(Flaw.PARENT)
    elif copy.kind != _VHD_DYNAMIC:
        flaws.append(Flaw.UNREADABLE)
    if footer is not None and (len(kinds) > 1 or footer.size_bytes != copy.size_bytes):
        flaws.append(Flaw.FOOTER)
    return HeaderFindings("vhd", tuple(flaws), copy.size_bytes)


def is_vhdx(head: bytes) -> bool:
    """Whether these bytes begin a VHDX."""
    return head.startswith(b"vhdxfile")


def find_vhdx_metadata(head: bytes) -> int | None:
    """The offset of a VHDX's metadata in bytes; None if it is uncertain."""
    places = {
        struct.unpack_from("<Q", entry, 16)[0]
        for table in _VHDX_REGION_TABLES
        for entry in _vhdx_entries(head[table : table + _VHDX_TABLE_BYTES], b"regi", 8, "<I", 16)
        if entry.startswith(_VHDX_METADATA)
    }
    return places.pop() if len(places) == 1 else None


def read_vhdx(head: bytes, metadata: bytes) -> HeaderFindings:
    """A VHDX by its beginning and its metadata, as far as both are there."""
    items = {
        entry[:16]: struct.unpack_from("<I", entry, 16)[0]
        for entry in _vhdx_entries(metadata, b"metadata", 10, "<H", _VHDX_ENTRY_BYTES)
    }
    parameters_at = items.get(_VHDX_FILE_PARAMETERS, len(metadata))
    flaws = []
    if len(metadata) < parameters_at + _VHDX_PARAMETERS.size:
        flaws.append(Flaw.UNREADABLE)
    elif _VHDX_PARENT_LOCATOR in items or _vhdx_flags(metadata, parameters_at) & _VHDX_HAS_PARENT:
        flaws.append(Flaw.PARENT)
    if _has_vhdx_log(head):
        flaws.append(Flaw.UNFINISHED)
    return HeaderFindings("vhdx", tuple(flaws))


def _vhdx_flags(metadata: bytes, parameters_at: int) -> int:
    flags: int = _VHDX_PARAMETERS.unpack_from(metadata, parameters_at)[1]
    return flags


def _vhdx_entries(
    table: bytes, signature: bytes, count_at: int, count: str, first_at: int
) -> Iterator[bytes]:
    """The complete entries of a table, 32 bytes each."""
    if not table.startswith(signature) or len(table) < first_at:
        return
    (entries,) = struct.unpack_from(count, table, count_at)
    for place in range(min(entries, _VHDX_MAX_ENTRIES)):
        entry = table[first_at + place * _VHDX_ENTRY_BYTES :][:_VHDX_ENTRY_BYTES]
        if len(entry) == _VHDX_ENTRY_BYTES:
            yield entry


def _has_vhdx_log(head: bytes) -> bool:
    """Whether the current header, the one with the higher sequence number, names a log to be
    replayed.
    """
    headers = [
        _VHDX_HEADER.unpack_from(head, at)
        for at in _VHDX_HEADERS
        if len(head) >= at + _VHDX_HEADER.size
    ]
    valid = [(sequence, any(log_id)) for mark, _, sequence, log_id in headers if mark == b"head"]
    return bool(valid) and max(valid)[1]


def find_lookalike(head: bytes) -> Lookalike | None:
    """The kind of data with this beginning; None for what may be a disk."""
    for at, mark, lookalike in _SIGNATURES:
        if head[at : at + len(mark)] == mark:
            return lookalike
    text = head[:_HTML_WITHIN_BYTES].lstrip(_BEFORE_HTML).lower()
    return Lookalike.HTML if text.startswith(_HTML) else None
