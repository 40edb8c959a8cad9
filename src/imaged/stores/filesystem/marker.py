"""The marker of a folder: a file in its root (``core/place_marker.py``).

One ``stat`` tells whether it is still the same file: an unmounted filesystem has no such file,
another filesystem has another one, and replacing the file changes its inode or its mtime.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

from imaged.core.errors import StoreError
from imaged.core.place_marker import (
    MARKER_NAME,
    MAX_MARKER_BYTES,
    ExpectedMarker,
    Marker,
    PlaceKind,
    write_marker_text,
)
from imaged.stores.filesystem.disk import (
    Disk,
    ThreadPool,
    move,
    os_errors_translated,
    store_error_of,
    sync_folder,
    write_chunks,
)

MARKER_CREATE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
MARKER_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
ROOT_UID = 0

FileStamp = tuple[int, int, int]  # device, inode, and mtime in ns


class FolderMarker(ExpectedMarker):
    """Guards a folder by its marker. Is a ``MarkedPlace``. ``require`` blocks.

    ``label``: its name in errors, if that is not ``name``.
    """

    def __init__(
        self,
        kind: PlaceKind,
        name: str,
        root: Path,
        threads: ThreadPool,
        *,
        label: str | None = None,
        file_mode: int = 0o600,
        disk: Disk | None = None,
    ) -> None:
        super().__init__(kind, name, str(root), label or name)
        self._root = root
        self._path = root / MARKER_NAME
        self._file_mode = file_mode
        self._threads = threads
        self._disk = disk or Disk()
        self._seen: FileStamp | None = None  # of the file when its marker was the expected one

    async def read_marker(self) -> Marker | None:
        """The present marker. Raises StoreError, MarkerRefused."""
        return await self._threads.run(self._read)

    async def write_marker(self, marker: Marker, *, replace: bool = False) -> Marker:
        """Write the marker durably; returns the marker that is then present. Raises StoreError."""
        return await self._threads.run(partial(self._write, marker, replace=replace))

    def expect(self, marker: Marker) -> None:
        """From now on, refuse writes and deletes unless this marker is present."""
        super().expect(marker)
        self._seen = None

    async def require_expected(self) -> None:
        """Raises WrongPlace if the marker is missing or another one."""
        await self._threads.run(self.require)

    def require(self) -> None:
        """The blocking form of ``require_expected``. Passes if no marker is expected yet."""
        if self._expected is None:
            return
        stamp = self._stamp()
        if stamp != self._seen:
            self.require_same(self._read())
            self._seen = stamp

    def _stamp(self) -> FileStamp:
        try:
            found = self._disk.stat(self._path, follow_symlinks=False)
        except FileNotFoundError as error:
            require_root_folder(self._label, self._root, self._disk)
            raise self.lost() from error
        except OSError as error:
            raise store_error_of(self._label, self._path, error) from error
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def _read(self) -> Marker | None:
        with os_errors_translated(self._label, self._path):
            try:
                descriptor = self._disk.open(self._path, MARKER_READ_FLAGS)
            except FileNotFoundError:
                require_root_folder(self._label, self._root, self._disk)
                return None
            try:
                data = self._disk.pread(descriptor, MAX_MARKER_BYTES, 0)
            finally:
                self._disk.close(descriptor)
        return self.parse(data)

    def _write(self, marker: Marker, *, replace: bool) -> Marker:
        unfinished = self._path.with_name(f"{MARKER_NAME}.{uuid4().hex}")
        with os_errors_translated(self._label, self._path):
            try:
                self._write_file(unfinished, write_marker_text(marker))
                if replace:
                    self._disk.replace(unfinished, self._path)
                else:
                    with suppress(FileExistsError):
                        move(self._disk, unfinished, self._path)
            finally:
                with suppress(FileNotFoundError):
                    self._disk.unlink(unfinished)
            sync_folder(self._disk, self._root)
        found = self._read()
        if found is None:
            raise self.lost()
        return found

    def _write_file(self, path: Path, data: bytes) -> None:
        descriptor = self._disk.open(path, MARKER_CREATE_FLAGS, self._file_mode)
        try:
            self._disk.fchmod(descriptor, self._file_mode)  # independent of the umask
            write_chunks(self._disk, descriptor, [data], 1)
            self._disk.fsync(descriptor)
        finally:
            self._disk.close(descriptor)
        chown_to_owner_of(self._disk, path, self._root)


def require_root_folder(label: str, root: Path, disk: Disk) -> None:
    """Raises StoreError if the folder is missing or not a folder."""
    try:
        is_folder = stat.S_ISDIR(disk.stat(root).st_mode)
    except FileNotFoundError as error:
        why = f"needs the folder {root}, which is missing: mount its filesystem, or create it"
        raise StoreError(label, why) from error
    except OSError as error:
        raise store_error_of(label, root, error) from error
    if not is_folder:
        raise StoreError(label, f"needs a folder, but {root} is not one: change its path")


def chown_to_owner_of(disk: Disk, path: Path, root: Path) -> None:
    """Give a file made by root to the owner of the folder. Raises OSError."""
    owner = disk.stat(root)
    if os.geteuid() == ROOT_UID and owner.st_uid != ROOT_UID:
        disk.chown(path, owner.st_uid, owner.st_gid)
