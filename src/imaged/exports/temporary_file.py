"""One attempt to export a file to a folder, from its first byte until it has its final name.

Strategy. The bytes go to a temporary name in the root. When they are durable, the file gets its
final name as a second one, by a link, which never replaces a file. The temporary name stays until
the task has ended: a retry of the task finds one file with both names, and knows that it was
exported. Removing the temporary name ends the attempt.

An attempt that fails removes its file, perhaps long after it was taken for dead because its thread
hung. So it locks the file from before the link until its outcome is decided, and a process that
finds both names takes that lock before the file counts as exported. The kernel releases it with the
process.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaged.core.errors import StoreError
from imaged.stores.filesystem.disk import Disk, sync_folder
from imaged.stores.filesystem.marker import FolderMarker
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.temporary_file import TemporaryFile

NO_LINK_ERRNOS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
NO_LOCK_ERRNOS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
OPEN_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: A part of the name is a file or a link, not a folder.
NOT_A_FOLDER_ERRORS = (NotADirectoryError, FileExistsError)


class ExportTemporaryFile(TemporaryFile):
    """Writes and links the file. Raises StoreError with the label of ``exports/conventions.py``."""

    def __init__(
        self,
        label: str,
        settings: FilesystemSettings,
        disk: Disk,
        unfinished: str,
        file_name: str,
        *,
        place: FolderMarker | None = None,
    ) -> None:
        super().__init__(label, file_name, settings.path / unfinished, settings, disk, place=place)
        self._root = settings.path
        self._is_linked = False

    def _require_unused(self) -> None:
        """Raises BlobExists, OSError."""
        try:
            found = file_id(self._disk, self._root, self._name)
        except NOT_A_FOLDER_ERRORS as error:
            raise self._exists() from error
        if found is not None:
            raise self._exists()

    def _publish_name(self) -> None:
        with self._file.in_use() as descriptor:
            try_lock(self._disk, descriptor)
        sync_folder(self._disk, self._root)  # the temporary name too: it proves what was exported
        try:
            self._link()
        except NOT_A_FOLDER_ERRORS as error:
            raise self._exists() from error
        except FileNotFoundError as error:
            self._disk.stat(self._root)  # a missing folder is reported as itself
            raise self._discarded() from error
        except OSError as error:
            if error.errno in NO_LINK_ERRNOS:
                why = f"needs hard links, which the filesystem of {self._root} does not have"
                raise StoreError(self._store, why) from error
            raise

    def _link(self) -> None:
        mode = self.settings.folder_mode
        with (
            self._file.in_use() as descriptor,
            open_parent(self._disk, self._root, self._name, mode) as (folder, last),
        ):
            try:
                self._disk.link(self._temporary, last, dst_dir_fd=folder)
            except FileExistsError:  # NFS says so too for a link that was requested twice
                if not is_same_file(self._disk, descriptor, folder, last):
                    raise
            self._is_linked = True
            self._disk.fsync(folder)

    def _roll_back(self, descriptor: int) -> None:
        if self._is_linked:
            self._unlink(descriptor)
        self._disk.unlink(self._temporary)

    def _unlink(self, descriptor: int) -> None:
        with (
            suppress(FileNotFoundError),
            open_parent(self._disk, self._root, self._name) as (folder, last),
        ):
            if is_same_file(self._disk, descriptor, folder, last):  # not another attempt's
                self._disk.unlink(last, dir_fd=folder)
                self._disk.fsync(folder)


def try_lock(disk: Disk, descriptor: int) -> bool:
    """Try to lock an open file until it is closed; returns whether no other process had it locked.

    On a filesystem without locks the answer is always yes. Raises OSError.
    """
    try:
        disk.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCK_ERRNOS:
            raise
    return True


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


@contextmanager
def open_parent(
    disk: Disk, root: Path, file_name: str, make_with: int | None = None
) -> Iterator[tuple[int, str]]:
    """The open folder of a file, and the file's name in it.

    The folders below the root are opened one by one, without following a link. Blocks; raises
    OSError. ``make_with``: create missing folders with these permissions.
    """
    *folders, last = file_name.split("/")
    # The operator may have made the root itself a link.
    descriptor = disk.open(root, OPEN_FOLDER_FLAGS & ~os.O_NOFOLLOW)
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


def _make(disk: Disk, folder: int, name: str, mode: int) -> None:
    try:
        disk.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        pass  # perhaps made by an attempt that was killed before it was durable
    else:
        disk.chmod(name, mode, dir_fd=folder)  # independent of the umask
    disk.fsync(folder)
