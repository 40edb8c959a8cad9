"""A draft: a blob that is being written to a file, from its first byte to its name.

Strategy. The bytes go to a temporary name on the same filesystem. When they are durable, a rename
that never replaces gives them their own name, and the folder is synced. Whoever writes never
deletes a name: ``delete`` takes away the temporary one, and with it the draft's only way to be
completed. A draft that fails empties its file through its own descriptor, so that the space is free
at once, and takes a name that it has been given already back to the temporary one.

Methods block; several threads may be in them, one of them perhaps for ever (``shared_file.py``).
"""

from __future__ import annotations

import os
from contextlib import suppress

import structlog

from imaged.core.block import Block
from imaged.core.errors import BlobExists, WriteDiscarded
from imaged.core.limits import MIB
from imaged.stores.disk import Disk, move, sync_folder, write_chunks
from imaged.stores.disk_errors import explained
from imaged.stores.folders import Folders
from imaged.stores.shared_file import SharedFile
from imaged.stores.space import require_room

log = structlog.get_logger()

LOOK_EVERY_BYTES = 64 * MIB  # how often a long write looks whether it should go on
CHUNKS_AT_ONCE = os.sysconf("SC_IOV_MAX")
NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class Draft:
    """One attempt to write one blob. Ends with ``keep`` or with ``discard``."""

    def __init__(
        self, store: str, key: str, folders: Folders, disk: Disk, min_free_bytes: int
    ) -> None:
        self._store = store
        self._key = key
        self._folders = folders
        self._disk = disk
        self._min_free_bytes = min_free_bytes
        self._temporary = folders.unfinished_path(key)
        self._whole = folders.whole_path(key)
        self._file = SharedFile(disk, before_close=self._clean_up)
        self._unwatched_bytes = 0
        self._is_renamed = False
        self._is_kept = False

    def begin(self, mode: int, expected_bytes: int = 0) -> None:
        """Create the file. Raises StoreFull, BlobExists, StoreError."""
        with explained(self._store, self._temporary):
            self._require_room(expected_bytes)
            self._require_unused()
            try:
                self._file.open(self._temporary, NEW_FILE, mode)
            except FileExistsError:
                raise BlobExists(self._store, self._key) from None
            with self._file.in_use() as descriptor:
                self._disk.fchmod(descriptor, mode)  # whatever the umask is

    def write(self, block: Block) -> None:
        """Append a block. Raises StoreFull, WriteDiscarded, StoreError."""
        with explained(self._store, self._temporary), self._file.in_use() as descriptor:
            write_chunks(self._disk, descriptor, block.chunks, CHUNKS_AT_ONCE)
            self._unwatched_bytes += block.size_bytes
            if self._unwatched_bytes >= LOOK_EVERY_BYTES:
                self._unwatched_bytes = 0
                self._require_room()
                self._require_wanted(descriptor)

    def flush(self) -> None:
        """Make durable what was written so far, so that less is left for the end."""
        with explained(self._store, self._temporary), self._file.in_use() as descriptor:
            self._disk.fdatasync(descriptor)

    def publish(self) -> None:
        """Make the bytes durable and visible. Raises BlobExists, WriteDiscarded, StoreError."""
        with explained(self._store, self._temporary), self._file.in_use() as descriptor:
            self._disk.fsync(descriptor)
            self._rename()
            sync_folder(self._disk, self._whole.parent)

    def keep(self) -> None:
        """Let the published blob stay. Never blocks: the file is synced, and no thread uses it."""
        self._is_kept = True
        self._file.close()

    def discard(self, patience_seconds: float) -> None:
        """Make sure that nothing is or becomes visible; wait so long for threads that hang."""
        self._file.close()
        self._file.wait_closed(patience_seconds)

    def _require_room(self, expected_bytes: int = 0) -> None:
        require_room(
            self._store,
            self._disk,
            self._folders.root,
            min_free_bytes=self._min_free_bytes,
            expected_bytes=expected_bytes,
        )

    def _require_unused(self) -> None:
        with suppress(FileNotFoundError):
            self._disk.stat(self._whole)
            raise BlobExists(self._store, self._key)

    def _require_wanted(self, descriptor: int) -> None:
        if self._disk.fstat(descriptor).st_nlink == 0:
            raise WriteDiscarded(self._store, self._key)

    def _rename(self) -> None:
        try:
            move(self._disk, self._temporary, self._whole)
        except FileExistsError:
            raise BlobExists(self._store, self._key) from None
        except FileNotFoundError as error:
            for folder in (self._folders.unfinished, self._whole.parent):
                self._disk.stat(folder)  # if one of them is gone, that is the trouble
            raise WriteDiscarded(self._store, self._key) from error
        self._is_renamed = True

    def _clean_up(self, descriptor: int) -> None:
        if self._is_kept:
            return
        try:
            if self._is_renamed:
                move(self._disk, self._whole, self._temporary)
            self._disk.ftruncate(descriptor, 0)
        except FileNotFoundError:
            return  # deleted meanwhile: its space goes with the descriptor
        except OSError as error:
            log.warning("write.left_behind", store=self._store, key=self._key, error=str(error))
