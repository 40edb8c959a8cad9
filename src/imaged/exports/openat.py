"""Opens names below the root of an export step by step, without following a link.

Everything blocks and raises OSError.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaged.stores.filesystem.disk import Disk

OPEN_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: A part of the name is a file or a link, not a folder.
NOT_A_FOLDER_ERRORS = (NotADirectoryError, FileExistsError)


@contextmanager
def open_parent(
    disk: Disk, root: Path, file_name: str, make_with: int | None = None
) -> Iterator[tuple[int, str]]:
    """The open folder of a file, and the file's name in it.

    ``make_with``: create missing folders with these permissions.
    """
    *folders, last = file_name.split("/")
    descriptor = disk.open(
        root, OPEN_FOLDER_FLAGS & ~os.O_NOFOLLOW
    )  # the operator may have made it a link
    try:
        for name in folders:
            if make_with is not None:
                _make(disk, descriptor, name, make_with)
            inner = disk.open(name, OPEN_FOLDER_FLAGS, dir_fd=descriptor)
            disk.close(descriptor)
            descriptor = inner
        yield descriptor, last
    finally:
        disk.close(descriptor)


def file_id(disk: Disk, root: Path, file_name: str) -> tuple[int, int] | None:
    """The identity of the file with this name, whatever its other names; None if there is none."""
    try:
        with open_parent(disk, root, file_name) as (folder, last):
            found = disk.stat(last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        disk.stat(root)  # a missing root is reported as itself
        return None
    return found.st_dev, found.st_ino


def is_same_file(disk: Disk, descriptor: int, folder: int, last: str) -> bool:
    """Whether this is a name of the open file. Raises OSError, also if the name does not exist."""
    named = disk.stat(last, dir_fd=folder, follow_symlinks=False)
    opened = disk.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


def _make(disk: Disk, folder: int, name: str, mode: int) -> None:
    try:
        disk.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        pass  # perhaps made by an attempt that was killed before it was durable
    else:
        disk.chmod(name, mode, dir_fd=folder)  # independent of the umask
    disk.fsync(folder)
