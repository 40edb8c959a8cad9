"""Readers of VHD and VHDX, each a pure function of bytes.

Sources: Microsoft's "Virtual Hard Disk Image Format Specification" of 2006, and [MS-VHDX].
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from imaged.core.disk_format import Flaw
from imaged.inspectors.headers import HeaderFindings

FOOTER_BYTES = 512
_COOKIE = b"conectix"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_CHECKSUM_AT = 64

_HEADERS = (64 * 1024, 128 * 1024)
_HEADER = struct.Struct("<4sIQ32x16s")  # up to LogGuid
_REGION_TABLES = (192 * 1024, 256 * 1024)
_TABLE_BYTES = 64 * 1024
_ENTRY_BYTES = 32
_MAX_ENTRIES = 2047
_METADATA_REGION = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_PARENT_LOCATOR = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
_PARAMETERS = struct.Struct("<II")  # the size of a block, and flags
_HAS_PARENT = 1 << 1


@dataclass(frozen=True, slots=True)
class VhdFooter:
    """The footer of a VHD, at its end and usually copied to its beginning."""

    size_bytes: int
    kind: int
    is_intact: bool  # according to its checksum


def parse_footer(sector: bytes) -> VhdFooter | None:
    """The footer in 512 bytes; None if they are something else."""
    if len(sector) != FOOTER_BYTES or not sector.startswith(_COOKIE):
        return None
    (size_bytes,) = struct.unpack_from(">Q", sector, 48)  # the current size, not the original one
    kind, checksum = struct.unpack_from(">II", sector, 60)
    summed = sum(sector) - sum(sector[_CHECKSUM_AT : _CHECKSUM_AT + 4])
    return VhdFooter(size_bytes, kind, checksum == ~summed & 0xFFFFFFFF)


def read_vhd(first: bytes, last: bytes, stream_bytes: int) -> HeaderFindings | None:
    """A VHD by its first and last 512 bytes; None for other data.

    A fixed VHD is the bare disk followed by a footer. The others begin with a copy of the footer;
    QEMU reads that copy, Windows the footer.
    """
    copy, footer = parse_footer(first), parse_footer(last)
    if copy is not None:
        return _read_with_copy(copy, footer if stream_bytes > FOOTER_BYTES else None)
    if footer is None or not footer.is_intact:
        return None
    flaws: tuple[Flaw, ...] = ()
    if footer.kind == _DIFFERENCING:
        flaws = (Flaw.PARENT,)
    elif footer.kind != _FIXED or footer.size_bytes > stream_bytes - FOOTER_BYTES:
        flaws = (Flaw.UNREADABLE,)  # its beginning is missing
    return HeaderFindings("vhd", flaws, footer.size_bytes)


def _read_with_copy(copy: VhdFooter, footer: VhdFooter | None) -> HeaderFindings:
    kinds = {copy.kind} if footer is None else {copy.kind, footer.kind}
    flaws = []
    if _DIFFERENCING in kinds:
        flaws.append(Flaw.PARENT)
    elif copy.kind != _DYNAMIC:
        flaws.append(Flaw.UNREADABLE)
    if footer is not None and (len(kinds) > 1 or footer.size_bytes != copy.size_bytes):
        flaws.append(Flaw.FOOTER)
    return HeaderFindings("vhd", tuple(flaws), copy.size_bytes)


def is_vhdx(head: bytes) -> bool:
    """Whether these bytes begin a VHDX."""
    return head.startswith(b"vhdxfile")


def find_metadata(head: bytes) -> int | None:
    """The offset of a VHDX's metadata in bytes; None if it is uncertain."""
    places = {
        struct.unpack_from("<Q", entry, 16)[0]
        for table in _REGION_TABLES
        for entry in _entries(head[table : table + _TABLE_BYTES], b"regi", 8, "<I", 16)
        if entry.startswith(_METADATA_REGION)
    }
    return places.pop() if len(places) == 1 else None


def read_vhdx(head: bytes, metadata: bytes) -> HeaderFindings:
    """A VHDX by its beginning and its metadata, as far as both are there."""
    items = {
        entry[:16]: struct.unpack_from("<I", entry, 16)[0]
        for entry in _entries(metadata, b"metadata", 10, "<H", _ENTRY_BYTES)
    }
    parameters_at = items.get(_FILE_PARAMETERS, len(metadata))
    flaws = []
    if len(metadata) < parameters_at + _PARAMETERS.size:
        flaws.append(Flaw.UNREADABLE)
    elif _PARENT_LOCATOR in items or _flags(metadata, parameters_at) & _HAS_PARENT:
        flaws.append(Flaw.PARENT)
    if _has_log(head):
        flaws.append(Flaw.UNFINISHED)
    return HeaderFindings("vhdx", tuple(flaws))


def _flags(metadata: bytes, parameters_at: int) -> int:
    flags: int = _PARAMETERS.unpack_from(metadata, parameters_at)[1]
    return flags


def _entries(
    table: bytes, signature: bytes, count_at: int, count: str, first_at: int
) -> Iterator[bytes]:
    """The complete entries of a table, 32 bytes each."""
    if not table.startswith(signature) or len(table) < first_at:
        return
    (entries,) = struct.unpack_from(count, table, count_at)
    for place in range(min(entries, _MAX_ENTRIES)):
        entry = table[first_at + place * _ENTRY_BYTES :][:_ENTRY_BYTES]
        if len(entry) == _ENTRY_BYTES:
            yield entry


def _has_log(head: bytes) -> bool:
    """Whether the current header, the one with the higher sequence number, names a log to be
    replayed.
    """
    headers = [_HEADER.unpack_from(head, at) for at in _HEADERS if len(head) >= at + _HEADER.size]
    valid = [(sequence, any(log_id)) for mark, _, sequence, log_id in headers if mark == b"head"]
    return bool(valid) and max(valid)[1]
