"""Targets of a pull: a file that appears complete or not at all, or standard output.

Bytes are written into ``NAME.FINGERPRINT.part`` beside the file. The fingerprint is of the record's
digests, so a part is never continued with other data, and needs no file of metadata.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

from imaged.client.errors import FileExists, FileUnusable
from imaged.client.image_api import Record
from imaged.core.digests import Digest
from imaged.core.limits import MIB

MAX_NAME_BYTES = 200  # so that the part's name stays within 255


class Target(Protocol):
    """Takes bytes in order. Every method blocks, and may raise FileUnusable."""

    held_bytes: int  # bytes that were written before

    def feed(self, digest: Digest) -> None:
        """Feed the held bytes to a digest."""
        ...

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        ...

    def discard(self) -> None:
        """Remove the bytes, which are wrong."""
        ...

    def finish(self) -> None:
        """Publish the bytes, which are complete and right."""
        ...


class StandardOutput:
    """Standard output, which cannot be rewound."""

    def __init__(self) -> None:
        self.held_bytes = 0

    def feed(self, digest: Digest) -> None:
        """Do nothing: no bytes are held."""

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        try:
            sys.stdout.buffer.write(block)
        except OSError as error:
            raise FileUnusable(f"Standard output cannot be written: {error.strerror}.") from error
        self.held_bytes += len(block)

    def discard(self) -> None:
        """Do nothing: written bytes cannot be removed."""

    def finish(self) -> None:
        """Flush the buffer."""
        sys.stdout.buffer.flush()


class PartFile:
    """A file that gets its name when it is complete."""

    def __init__(self, path: Path, part: Path, file: FileIO, *, overwrite: bool) -> None:
        self._path = path
        self._part = part
        self._file = file
        self._overwrite = overwrite
        self.held_bytes = file.seek(0, os.SEEK_END)

    def feed(self, digest: Digest) -> None:
        """Feed the held bytes to a digest."""
        with _file_errors(self._part):
            self._file.seek(0)
            while block := self._file.read(MIB):
                digest.feed(block)

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(block)
        with _file_errors(self._part):
            while rest:
                rest = rest[self._file.write(rest) :]
        self.held_bytes += len(block)

    def discard(self) -> None:
        """Remove the part, so that the next pull starts again."""
        with _file_errors(self._part):
            self._part.unlink()

    def finish(self) -> None:
        """Sync the file to the disk, and give it its name. Raises FileExists."""
        with _file_errors(self._path):
            os.fsync(self._file.fileno())
            if self._overwrite:
                self._part.replace(self._path)
            else:
                _link(self._part, self._path)
            _sync_folder(self._path.parent)


@contextmanager
def open_part(path: Path, record: Record, *, overwrite: bool) -> Iterator[PartFile]:
    """Open a new part, or that of an earlier try. Raises FileExists, FileUnusable."""
    _require_free(path, overwrite=overwrite)
    part = path.with_name(f"{path.name}.{record.fingerprint}.part")
    with _file_errors(part):
        file = FileIO(os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FileUnusable(
                f"Another process writes {part}.", "Wait for its end, or choose another name."
            ) from error
        if record.size_bytes is not None and file.seek(0, os.SEEK_END) > record.size_bytes:
            file.truncate(0)
        yield PartFile(path, part, file, overwrite=overwrite)


def local_path(record: Record, wanted: Path | None) -> Path:
    """The path for an image: the given file, or its name in the given or current folder."""
    if wanted is None:
        return Path(safe_name(record))
    return wanted / safe_name(record) if wanted.is_dir() else wanted


def safe_name(record: Record) -> str:
    """A file name from the image's name: no path, not hidden, printable; otherwise its id."""
    readable = "".join(
        sign if sign.isprintable() and sign not in "/\\" else "_" for sign in record.name
    )
    name = readable.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip().lstrip(".-")
    return name or _safe_id(record)


def _require_free(path: Path, *, overwrite: bool) -> None:
    """Refuse an existing file. Raises FileExists, FileUnusable."""
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExists(path)
    if not path.is_file():
        raise FileUnusable(
            f"{path} is not a regular file, and cannot be replaced.",
            "Choose another name, or - for a pipe.",
        )


def _safe_id(record: Record) -> str:
    """A file name from the id, which a service may choose freely."""
    return "".join(sign if sign.isalnum() or sign == "-" else "_" for sign in record.id) or "image"


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Translate OSError to FileExists or FileUnusable."""
    try:
        yield
    except FileExistsError as error:
        raise FileExists(path) from error
    except OSError as error:
        if not path.parent.is_dir():
            raise FileUnusable(
                f"There is no folder {path.parent}.", "Make it, or choose another place by -o."
            ) from error
        raise FileUnusable(
            f"{path} cannot be written: {error.strerror}.", "Choose another place by -o."
        ) from error


def _link(part: Path, path: Path) -> None:
    """Rename without overwriting: atomic by a hard link, and checked first without links."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        if path.exists():
            raise FileExistsError from None
        part.rename(path)
    else:
        part.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
