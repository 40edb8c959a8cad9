"""Where pulled bytes go: a file that appears whole or not at all, or standard output.

Bytes are written into ``NAME.FINGERPRINT.part`` beside the file. The fingerprint is of the record's
digests, so a part is never continued with other data, and nothing has to be kept beside it.
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
from imaged.client.image_record import Record
from imaged.core.digests import Digest
from imaged.core.limits import MIB

STANDARD_OUTPUT = Path("-")
MAX_NAME_BYTES = 200  # so that the part's name fits into 255 too


class Target(Protocol):
    """Takes the bytes in their order. Every method blocks, and raises FileUnusable."""

    held_bytes: int  # how many are there already

    def feed(self, digest: Digest) -> None:
        """Give a digest what is there already."""
        ...

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        ...

    def discard(self) -> None:
        """What is there is not what it should be."""
        ...

    def finish(self) -> None:
        """All is there, and right."""
        ...


class StandardOutput:
    """Standard output: what went out is out."""

    def __init__(self) -> None:
        self.held_bytes = 0

    def feed(self, digest: Digest) -> None:
        """Nothing is there yet."""

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        try:
            sys.stdout.buffer.write(block)
        except OSError as error:
            raise FileUnusable(f"Standard output cannot be written: {error.strerror}.") from error
        self.held_bytes += len(block)

    def discard(self) -> None:
        """Nothing can be taken back."""

    def finish(self) -> None:
        """Let nothing linger here."""
        sys.stdout.buffer.flush()


class PartFile:
    """A file that gets its name when it is whole."""

    def __init__(self, path: Path, part: Path, file: FileIO, *, overwrite: bool) -> None:
        self._path = path
        self._part = part
        self._file = file
        self._overwrite = overwrite
        self.held_bytes = file.seek(0, os.SEEK_END)

    def feed(self, digest: Digest) -> None:
        """Read what is there already."""
        with file_errors(self._part):
            self._file.seek(0)
            while block := self._file.read(MIB):
                digest.feed([block])

    def write(self, block: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(block)
        with file_errors(self._part):
            while rest:
                rest = rest[self._file.write(rest) :]
        self.held_bytes += len(block)

    def discard(self) -> None:
        """Begin anew the next time."""
        with file_errors(self._part):
            self._part.unlink()

    def finish(self) -> None:
        """Make it durable, and give it its name. Raises FileExists."""
        with file_errors(self._path):
            os.fsync(self._file.fileno())
            if self._overwrite:
                self._part.replace(self._path)
            else:
                _link(self._part, self._path)
            _sync_folder(self._path.parent)


@contextmanager
def open_part(path: Path, record: Record, *, overwrite: bool) -> Iterator[PartFile]:
    """Begin, or go on with what an earlier try left. Raises FileExists, FileUnusable."""
    require_free(path, overwrite=overwrite)
    part = path.with_name(f"{path.name}.{record.fingerprint}.part")
    with file_errors(part):
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


def require_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that is taken. Raises FileExists, FileUnusable."""
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExists(path)
    if not path.is_file():
        raise FileUnusable(
            f"{path} is no file that could be replaced.", "Choose another name, or - for a pipe."
        )


def local_path(record: Record, wanted: Path | None) -> Path:
    """Where to put an image: what is wanted, in a folder that is wanted, or in this one."""
    if wanted is None:
        return Path(safe_name(record))
    return wanted / safe_name(record) if wanted.is_dir() else wanted


def safe_name(record: Record) -> str:
    """The image's name as that of a file: never a path, hidden, or unreadable. Else its id."""
    readable = "".join(
        sign if sign.isprintable() and sign not in "/\\" else "_" for sign in record.name
    )
    name = readable.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip().lstrip(".-")
    return name or safe_id(record)


def safe_id(record: Record) -> str:
    """The id, which a service could have chosen badly."""
    return "".join(sign if sign.isalnum() or sign == "-" else "_" for sign in record.id) or "image"


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Let no OSError out of the block. Raises FileExists, FileUnusable."""
    try:
        yield
    except FileExistsError as error:
        raise FileExists(path) from error
    except OSError as error:
        raise FileUnusable(
            f"{path} cannot be written: {error.strerror}.", "Choose another place by -o."
        ) from error


def _link(part: Path, path: Path) -> None:
    """Rename, and never over another name; some filesystems have no links, and then almost."""
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
