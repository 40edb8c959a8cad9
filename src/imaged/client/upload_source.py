"""The source of a push: a file, a block device or standard input; and a guess of its formats, by
its first bytes or its name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePath

from anyio import to_thread

from imaged.client.errors import FileChanged, FileUnusable
from imaged.client.transfer import Progress
from imaged.core.digests import CHECKSUM, Digest, is_supported_algorithm
from imaged.core.limits import KIB, MIB

SOURCE_DIGESTS = (CHECKSUM, "sha256", "sha512")  # those that services usually have
STANDARD_INPUT = Path("-")
HEAD_BYTES = 64 * KIB  # enough for all signatures below
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


class Source:
    """The bytes of a file or device, which can be read again, or of a pipe, which cannot."""

    def __init__(self, name: str, file: FileIO) -> None:
        mode = os.fstat(file.fileno()).st_mode
        self.name = name
        self._file = file
        self._head = b""
        self.is_repeatable = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        self.size_bytes = file.seek(0, os.SEEK_END) if self.is_repeatable else None
        self.digests: dict[str, str] = {}  # hexadecimal, of all bytes, after a complete read

    async def head(self) -> bytes:
        """The first bytes, which ``blocks`` yields too. Raises FileUnusable."""
        if not self._head:
            self._rewind()
            while len(self._head) < HEAD_BYTES and (piece := await self._read(HEAD_BYTES)):
                self._head += piece
        return self._head

    async def blocks(self, progress: Progress) -> AsyncGenerator[bytes]:
        """All bytes, in blocks. Raises FileUnusable, FileChanged."""
        digests = {one: Digest(one) for one in SOURCE_DIGESTS if is_supported_algorithm(one)}
        read_bytes, block = 0, self._head
        if self.is_repeatable:
            self._rewind()
            block = b""
        while block := block or await self._read(MIB):
            read_bytes += len(block)
            if self.size_bytes is not None and read_bytes > self.size_bytes:
                raise FileChanged(self.name)
            await to_thread.run_sync(_feed, digests, block)
            yield block
            progress.advance(len(block))
            block = b""
        if self.size_bytes not in {None, read_bytes}:
            raise FileChanged(self.name)
        self.digests = {name: digest.hexdigest() for name, digest in digests.items()}

    def _rewind(self) -> None:
        if self.is_repeatable:
            self._file.seek(0)

    async def _read(self, limit_bytes: int) -> bytes:
        try:
            return await to_thread.run_sync(self._file.read, limit_bytes, abandon_on_cancel=True)
        except OSError as error:
            raise FileUnusable(f"{self.name} cannot be read: {error.strerror}.") from error


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file, or standard input for ``-``. Raises FileUnusable."""
    try:
        file = FileIO(0, closefd=False) if path == STANDARD_INPUT else FileIO(path)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield Source(str(path), file)


def _feed(digests: dict[str, Digest], block: bytes) -> None:
    for digest in digests.values():
        digest.feed(block)


@dataclass(frozen=True, slots=True)
class Formats:
    """The formats of a file. ``why``: the reason for a guess of the disk format, or ""."""

    disk: str
    container: str
    why: str = ""


def choose_formats(
    head: bytes, name: str, disk: str | None = None, container: str | None = None
) -> Formats:
    """The given formats. A missing disk format is guessed by the first bytes and the name; a
    missing container is the one that files of this format have.

    Raises FileUnusable for compressed files whose disk format is not given.
    """
    if disk is not None:
        return Formats(disk, container or _usual_container(disk, name))
    found = recognize(head, name)
    if found is None:
        packing = _packing(head)
        raise FileUnusable(
            f"{name} is compressed by {packing}, so its format cannot be guessed.",
            "Decompress it first, or give --disk-format and --container-format.",
        )
    return Formats(found.disk, container or found.container, found.why)


def recognize(head: bytes, name: str) -> Formats | None:
    """The formats by the first bytes, or else the name; None for a compressed file."""
    for offset, mark, disk in SIGNATURES:
        if head[offset : offset + len(mark)] == mark:
            return Formats(disk, "bare", "by its content")
    suffix = PurePath(name).suffix.lower()
    if suffix in BY_SUFFIX:
        return Formats(*BY_SUFFIX[suffix], f"by its name, which ends in {suffix}")
    if _packing(head) is not None:
        return None
    return Formats("raw", "bare", "as no other format was recognised")


def _usual_container(disk: str, name: str) -> str:
    """That of its name, such as ova; for ami, aki and ari the same; for others bare."""
    for suffix in (PurePath(name).suffix.lower(), f".{disk}"):
        of_disk, container = BY_SUFFIX.get(suffix, ("", ""))
        if of_disk == disk:
            return container
    return "bare"


def _packing(head: bytes) -> str | None:
    return next((packing for mark, packing in COMPRESSED if head.startswith(mark)), None)
