"""One attempt to deliver a file to a folder, from its first byte to its name.

Strategy. The bytes go to a name that nobody would take for a file's, in the root. When they are
durable, the file gets its own name as a second one: by a link, which never replaces anything. The
first name stays until the task has ended: whoever repeats the task finds one file with both names,
and knows that it was delivered. Whoever removes the first name has ended the attempt.

An attempt that fails takes its file back, perhaps long after others took it for dead, because its
thread hung. So it has a lock on the file from before the link until it has decided, and whoever
finds both names asks for that lock before the file counts as delivered. The kernel lets go of it
with the process.
"""

from __future__ import annotations

import errno
import fcntl
from contextlib import suppress

from imaged.core.errors import StoreError
from imaged.exports.openat import NOT_A_FOLDER_ERRORS, file_id, is_same_file, open_parent
from imaged.stores.filesystem.disk import Disk, sync_folder
from imaged.stores.filesystem.marker import FolderMarker
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.temporary_file import TemporaryFile

NO_LINK_ERRNOS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
NO_LOCK_ERRNOS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


class ExportTemporaryFile(TemporaryFile):
    """Raises StoreError, as the store ``label``."""

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
        sync_folder(self._disk, self._root)  # the first name too: it tells what was delivered
        try:
            self._link()
        except NOT_A_FOLDER_ERRORS as error:
            raise self._exists() from error
        except FileNotFoundError as error:
            self._disk.stat(self._root)  # if that is gone, it is another trouble
            raise self._discarded() from error
        except OSError as error:
            if error.errno in NO_LINK_ERRNOS:
                why = f"needs hard links, which the filesystem of {self._root} does not have"
                raise StoreError(self._store, why) from error
            raise

    def _link(self) -> None:
        mode = self._settings.folder_mode
        with (
            self._file.in_use() as descriptor,
            open_parent(self._disk, self._root, self._name, mode) as (folder, last),
        ):
            try:
                self._disk.link(self._temporary, last, dst_dir_fd=folder)
            except FileExistsError:  # NFS says so too of a link that it was asked for twice
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
            if is_same_file(self._disk, descriptor, folder, last):  # and not somebody else's by now
                self._disk.unlink(last, dir_fd=folder)
                self._disk.fsync(folder)


def try_lock(disk: Disk, descriptor: int) -> bool:
    """Whether nobody else has the lock on an open file, which is ours then until it is closed.

    Where the filesystem has no locks, nobody has one. Raises OSError.
    """
    try:
        disk.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCK_ERRNOS:
            raise
    return True
