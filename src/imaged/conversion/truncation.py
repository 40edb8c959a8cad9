"""Finds truncated disks: their tables point beyond the end of the file.

QEMU reads zeros there, so a truncated file becomes a disk that looks complete. ``qemu-img check``
detects it in qcow2 and VMDK, but not in VHD and VHDX, nor behind the last block of a VDI. The
content is untrusted: tables are read only as far as the file has them.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from imaged.core.limits import KIB, MIB

SECTOR_BYTES = 512
MAX_ENTRIES = 1 << 26  # of a table: 64 TiB in blocks of 1 MiB, the largest VHDX

_VDI_UNUSED = 0xFFFFFFFE  # and above: a block of zeros, or none
_VHD_UNUSED = 0xFFFFFFFF
_VHDX_REGIONS_AT = 192 * KIB
_VHDX_TABLE_BYTES = 64 * KIB
_VHDX_BLOCKS = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
_VHDX_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_VHDX_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_VHDX_STATE = 0b111
_VHDX_IN_FILE = frozenset({6, 7})  # fully and partially present


def missing_bytes(path: Path, disk_format: str) -> int:
    """A lower bound of the number of bytes missing at the end of the file.

    0 if none are, and for formats that are not supported here. Blocks. Raises OSError.
    """
    find_end = _ENDS.get(disk_format)
    if find_end is None:
        return 0
    with path.open("rb") as file:
        try:
            end = find_end(file)
        except (struct.error, KeyError, ValueError):  # even its headers are incomplete
            return 1
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return 1  # an offset that no file can have
    return max(0, end - path.stat().st_size)


def _end_of_vdi(file: BinaryIO) -> int:
    header = file.read(SECTOR_BYTES)
    table_at, data_at = struct.unpack_from("<II", header, 0x154)
    block_bytes, extra_bytes, count = struct.unpack_from("<III", header, 0x178)
    used = (entry for entry in _entries(file, table_at, count, "<I") if entry < _VDI_UNUSED)
    last = max(used, default=-1)
    end: int = max(table_at + 4 * count, data_at + (last + 1) * (block_bytes + extra_bytes))
    return end


def _end_of_vhd(file: BinaryIO) -> int:
    copy = file.read(SECTOR_BYTES)
    if not copy.startswith(b"conectix"):
        return 0  # fixed: its footer was found, so all before it is there
    (header_at,) = struct.unpack_from(">Q", copy, 16)
    header = _read(file, header_at, 36)
    (table_at,) = struct.unpack_from(">Q", header, 16)
    count, block_bytes = struct.unpack_from(">II", header, 28)
    bitmap_bytes = _rounded_up(block_bytes // SECTOR_BYTES // 8, SECTOR_BYTES)
    used = (entry for entry in _entries(file, table_at, count, ">I") if entry != _VHD_UNUSED)
    ends = (entry * SECTOR_BYTES + bitmap_bytes + block_bytes for entry in used)
    end: int = max(table_at + 4 * count, max(ends, default=0))
    return end


def _end_of_vhdx(file: BinaryIO) -> int:
    regions = dict(_items(_read(file, _VHDX_REGIONS_AT, _VHDX_TABLE_BYTES), 8, 16, "<QI"))
    table_at, table_bytes = regions[_VHDX_BLOCKS]
    metadata_at, _ = regions[_VHDX_METADATA]
    items = dict(_items(_read(file, metadata_at, _VHDX_TABLE_BYTES), 10, 32, "<I"))
    (block_bytes,) = struct.unpack("<I", _read(file, metadata_at + items[_VHDX_PARAMETERS][0], 4))
    entries = _entries(file, table_at, table_bytes // 8, "<Q")
    used = (entry for entry in entries if entry & _VHDX_STATE in _VHDX_IN_FILE)
    last = max((entry >> 20 for entry in used), default=-1)
    return table_at + table_bytes if last < 0 else last * MIB + block_bytes


_ENDS: Mapping[str, Callable[[BinaryIO], int]] = {
    "vdi": _end_of_vdi,
    "vhd": _end_of_vhd,
    "vhdx": _end_of_vhdx,
}


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    """These bytes, as far as the file has them."""
    file.seek(at)
    return file.read(length)


def _items(
    table: bytes, count_at: int, first_at: int, value: str
) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """The entries of a VHDX table by their ids, each with the bytes after its id."""
    (count,) = struct.unpack_from("<H", table, count_at)
    for at in range(first_at, first_at + 32 * count, 32):
        yield table[at : at + 16], struct.unpack_from(value, table, at + 16)


def _entries(file: BinaryIO, at: int, count: int, kind: str) -> Iterator[int]:
    """The numbers in a table, as many as the file has."""
    entry = struct.Struct(kind)
    file.seek(at)
    left_bytes = min(count, MAX_ENTRIES) * entry.size
    while data := file.read(min(left_bytes, MIB)):
        left_bytes -= len(data)
        for (number,) in entry.iter_unpack(data[: len(data) // entry.size * entry.size]):
            yield number


def _rounded_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
