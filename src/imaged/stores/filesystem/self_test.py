"""The self-test of a folder that is to be a store, run at start.

It never creates the root: a folder made in the place of a mount point would fill the disk below it.
It creates the subfolders, owned by the root's owner even if root runs it first (``sudo imaged
check-config``). Little free space is no reason to refuse: downloads, and the scrubber, which frees
space, must work then too. A write is tested; if the process dies during the test, a self-test at
least ``LEFTOVER_AGE`` later removes what it left.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import structlog

from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.stores.filesystem.disk import Disk, free_bytes, move, os_errors_translated, sync_folder
from imaged.stores.filesystem.marker import chown_to_owner_of, require_root_folder
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.layout import LEFTOVER_AGE, SELF_TEST_PREFIX, StorePaths

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FilesystemSelfTest:
    """Tests one store. Every step blocks and raises StoreError with the remedy."""

    store: str
    paths: StorePaths
    disk: Disk
    settings: FilesystemSettings

    def run(self) -> None:
        """Run every step."""
        require_root_folder(self.store, self.paths.root, self.disk)
        self._make_folders()
        self._require_one_filesystem()
        self._remove_leftovers()
        try:
            self._sync_folders()
            self._test_write()
        except StoreFull as error:
            log.warning("store.full", store=self.store, error=str(error))
        else:
            self._warn_if_low()

    def _make_folders(self) -> None:
        for folder in (self.paths.temporary_folder, *self.paths.blob_folders):
            self._make(folder)

    def _sync_folders(self) -> None:
        """Also folders that existed: their maker may have been killed before it synced them."""
        with os_errors_translated(self.store, self.paths.root):
            sync_folder(self.disk, self.paths.root)

    def _make(self, folder: Path) -> None:
        with os_errors_translated(self.store, folder):
            try:
                self.disk.mkdir(folder, self.settings.folder_mode)
            except FileExistsError:
                return
            self.disk.chmod(folder, self.settings.folder_mode)  # independent of the umask
            chown_to_owner_of(self.disk, folder, self.paths.root)

    def _require_one_filesystem(self) -> None:
        device = self._device(self.paths.temporary_folder)
        for folder in self.paths.blob_folders:
            if self._device(folder) != device:
                raise StoreError(self.store, self._different_filesystems(folder))

    def _device(self, folder: Path) -> int:
        with os_errors_translated(self.store, folder):
            return self.disk.stat(folder).st_dev

    def _different_filesystems(self, folder: Path) -> str:
        temporary = self.paths.temporary_folder
        return f"needs {temporary} and {folder} on one filesystem: unmount what is mounted there"

    def _remove_leftovers(self) -> None:
        for folder in self._stages:
            with os_errors_translated(self.store, folder):
                for name in self.disk.scan(folder):
                    if name.startswith(SELF_TEST_PREFIX):
                        self._remove_leftover(folder / name)

    def _remove_leftover(self, path: Path) -> None:
        with suppress(FileNotFoundError):  # its owner is alive, or another self-test removed it
            age = time.time() - self.disk.stat(path).st_mtime
            if age > LEFTOVER_AGE.total_seconds():
                self.disk.unlink(path)

    @property
    def _stages(self) -> tuple[Path, Path]:
        """The paths between which the test file is moved."""
        return self.paths.temporary_folder, self.paths.blob_folders[0]

    def _test_write(self) -> None:
        name = f"{SELF_TEST_PREFIX}{uuid4().hex}"
        first, last = (folder / name for folder in self._stages)
        try:
            with os_errors_translated(self.store, first):
                self._write(first)
                move(self.disk, first, last)
                sync_folder(self.disk, last.parent)
                self.disk.unlink(last)
        finally:
            for path in (first, last):
                with suppress(OSError):
                    self.disk.unlink(path)

    def _write(self, path: Path) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        descriptor = self.disk.open(path, flags, 0o600)
        try:
            self.disk.writev(descriptor, [b"imaged"])
            self.disk.fsync(descriptor)
        finally:
            self.disk.close(descriptor)

    def _warn_if_low(self) -> None:
        with os_errors_translated(self.store, self.paths.root):
            free = free_bytes(self.disk, self.paths.root)
        if free < self.settings.min_free_bytes:
            log.warning(
                "store.full",
                store=self.store,
                path=str(self.paths.root),
                free_mib=free // MIB,
                min_free_mib=self.settings.min_free_bytes // MIB,
            )
