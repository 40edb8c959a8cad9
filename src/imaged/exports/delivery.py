"""One attempt to deliver a file to a folder, from its first byte to its name.

Strategy. The bytes go to a name that nobody would take for a file's, in the root. When they are
durable, the file gets its own name as a second one: by a link, which never replaces anything. The
first name stays until the task has ended: whoever repeats the task finds one file with both names,
and knows that it was delivered. Whoever removes the first name has ended the attempt.

Methods block; several threads may be in them, one of them perhaps for ever (``shared_file.py``).
"""

from __future__ import annotations

import errno
from contextlib import suppress

import structlog

from imaged.core.block import Block
from imaged.core.errors import BlobExists, StoreError, WriteDiscarded
from imaged.exports.tree import NO_FOLDER, folder_of, identity
from imaged.stores.disk import Disk, sync_folder, write_chunks
from imaged.stores.disk_errors import explained
from imaged.stores.draft import CHUNKS_AT_ONCE, LOOK_EVERY_BYTES, NEW_FILE
from imaged.stores.filesystem import FilesystemSettings
from imaged.stores.shared_file import SharedFile
from imaged.stores.space import require_room

log = structlog.get_logger()

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class Delivery:
    """Ends with ``keep`` or with ``discard``. Raises StoreError, as the store ``label``."""

    def __init__(
        self, label: str, settings: FilesystemSettings, disk: Disk, unfinished: str, file_name: str
    ) -> None:
        self._label = label
        self._settings = settings
        self._root = settings.path
        self._disk = disk
        self._unfinished = settings.path / unfinished
        self._file_name = file_name
        self._file = SharedFile(disk, before_close=self._clean_up)
        self._unwatched_bytes = 0
        self._is_linked = False
        self._is_kept = False

    def begin(self, expected_bytes: int = 0) -> None:
        """Create the file, unless it could not get its name."""
        with explained(self._label, self._unfinished):
            self._require_room(expected_bytes)
            self.require_free()
            self._file.open(self._unfinished, NEW_FILE, self._settings.file_mode)
            with self._file.in_use() as descriptor:
                self._disk.fchmod(descriptor, self._settings.file_mode)  # whatever the umask is

    def write(self, block: Block) -> None:
        """Append a block."""
        with explained(self._label, self._unfinished), self._file.in_use() as descriptor:
            write_chunks(self._disk, descriptor, block.chunks, CHUNKS_AT_ONCE)
            self._unwatched_bytes += block.size_bytes
            if self._unwatched_bytes >= LOOK_EVERY_BYTES:
                self._unwatched_bytes = 0
                self._require_room()

    def flush(self) -> None:
        """Make durable what was written so far, so that less is left for the end."""
        with explained(self._label, self._unfinished), self._file.in_use() as descriptor:
            self._disk.fdatasync(descriptor)

    def publish(self) -> None:
        """Make the bytes durable and visible. Raises BlobExists, WriteDiscarded."""
        with explained(self._label, self._root), self._file.in_use() as descriptor:
            self._disk.fsync(descriptor)
            sync_folder(self._disk, self._root)  # the first name too: it tells what was delivered
            self._link()

    def keep(self) -> None:
        """Let the file stay. Never blocks: it is synced, and no thread uses it."""
        self._is_kept = True
        self._file.close()

    def discard(self, patience_seconds: float) -> None:
        """Make sure that nothing is or becomes visible; wait so long for threads that hang."""
        self._file.close()
        self._file.wait_closed(patience_seconds)

    def require_free(self) -> None:
        """Raises BlobExists, OSError."""
        try:
            found = identity(self._disk, self._root, self._file_name)
        except NO_FOLDER as error:
            raise self._taken() from error
        if found is not None:
            raise self._taken()

    def _link(self) -> None:
        mode = self._settings.folder_mode
        try:
            with folder_of(self._disk, self._root, self._file_name, mode) as (folder, last):
                self._disk.link(self._unfinished, last, dst_dir_fd=folder)
                self._is_linked = True
                self._disk.fsync(folder)
        except NO_FOLDER as error:
            raise self._taken() from error
        except FileNotFoundError as error:
            self._disk.stat(self._root)  # if that is gone, it is another trouble
            raise WriteDiscarded(self._label, self._unfinished.name) from error
        except OSError as error:
            if error.errno in NO_LINKS:
                why = f"needs hard links, which the filesystem of {self._root} does not have"
                raise StoreError(self._label, why) from error
            raise

    def _require_room(self, expected_bytes: int = 0) -> None:
        require_room(
            self._label,
            self._disk,
            self._root,
            min_free_bytes=self._settings.min_free_bytes,
            expected_bytes=expected_bytes,
        )

    def _taken(self) -> BlobExists:
        return BlobExists(self._label, self._file_name)

    def _clean_up(self, _descriptor: int) -> None:
        if self._is_kept:
            return
        try:
            if self._is_linked:
                with folder_of(self._disk, self._root, self._file_name) as (folder, last):
                    self._disk.unlink(last, dir_fd=folder)
                    self._disk.fsync(folder)
            with suppress(FileNotFoundError):
                self._disk.unlink(self._unfinished)
        except OSError as error:
            log.warning(
                "write.left_behind", store=self._label, key=self._file_name, error=str(error)
            )
