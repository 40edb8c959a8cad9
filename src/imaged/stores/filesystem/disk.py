"""Every call to the operating system that the filesystem store makes, and the check of free space.

The calls stand in one place so that a test can record each of them, or let it fail.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from imaged.core.errors import StoreFull
from imaged.core.limits import MIB

AT_FDCWD = -100  # <fcntl.h>: paths are not relative to an open folder
RENAME_NOREPLACE = 1  # <linux/fs.h>
NO_RENAME_ERRNOS = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}

_libc = ctypes.CDLL(None, use_errno=True)


def rename_noreplace(source: Path, target: Path) -> None:
    """Rename atomically; never replace a file. Raises the kernel's OSError."""
    call: Callable[..., int] | None = getattr(_libc, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def list_files(folder: Path) -> Sequence[str]:
    """The names of the regular files in a folder."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


class Disk:
    """The calls. All of them block and raise OSError."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    writev = staticmethod(os.writev)
    pread = staticmethod(os.pread)
    ftruncate = staticmethod(os.ftruncate)
    fchmod = staticmethod(os.fchmod)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(os.fdatasync)
    fstat = staticmethod(os.fstat)
    stat = staticmethod(os.stat)
    statvfs = staticmethod(os.statvfs)
    mkdir = staticmethod(os.mkdir)
    chmod = staticmethod(os.chmod)
    chown = staticmethod(os.chown)
    rename = staticmethod(rename_noreplace)
    replace = staticmethod(os.replace)
    link = staticmethod(os.link)
    flock = staticmethod(fcntl.flock)
    unlink = staticmethod(os.unlink)
    scan = staticmethod(list_files)


def move(disk: Disk, source: Path, target: Path) -> None:
    """Rename without replacing a file, also on filesystems that lack RENAME_NOREPLACE.

    Those need two steps (link, unlink), with both names in between. A source that cannot be removed
    is then only a second name of the same bytes; a source that is missing was deleted meanwhile.
    Raises FileExistsError, FileNotFoundError, OSError.
    """
    try:
        disk.rename(source, target)
    except OSError as error:
        if error.errno not in NO_RENAME_ERRNOS:
            raise
        disk.link(source, target)
        try:
            disk.unlink(source)
        except FileNotFoundError:
            raise
        except OSError:
            return


def sync_folder(disk: Disk, folder: Path) -> None:
    """Make names that were added to a folder or removed from it survive a power cut."""
    descriptor = disk.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def write_chunks(disk: Disk, descriptor: int, chunks: Sequence[bytes], limit: int) -> None:
    """Write all chunks, at most ``limit`` per system call, repeating short writes."""
    pending: list[bytes | memoryview] = [chunk for chunk in chunks if chunk]
    first = 0
    while first < len(pending):
        written = disk.writev(descriptor, pending[first : first + limit])
        if written <= 0:
            raise OSError(errno.EIO, "nothing more could be written")
        while first < len(pending) and written >= len(pending[first]):
            written -= len(pending[first])
            first += 1
        if written:
            pending[first] = memoryview(pending[first])[written:]


def free_bytes(disk: Disk, path: Path) -> int:
    """The free space for users other than root, in bytes. Raises OSError."""
    figures = disk.statvfs(path)
    return figures.f_bavail * figures.f_frsize


def require_room(
    store: str, disk: Disk, path: Path, *, min_free_bytes: int, expected_bytes: int = 0
) -> None:
    """Refuse a write that would leave less than ``min_free_bytes``. Raises StoreFull, OSError."""
    left = free_bytes(disk, path) - expected_bytes
    if left < min_free_bytes:
        raise StoreFull(
            store,
            f"has too little room at {path}: {left // MIB} MiB would be left, and "
            f"{min_free_bytes // MIB} MiB must stay free (min_free)",
        )
