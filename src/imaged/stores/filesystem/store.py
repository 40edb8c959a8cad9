"""A store in a folder of a filesystem.

It creates the folders that ``stores/layout.py`` draws (when it is checked), its marker, and files
that only their owner can read. A crash leaves a file in ``.tmp``, which ``delete`` of its key
removes. The store needs the rights to read, write and search in its root folder, which it never
creates.

The bytes of a blob go to a temporary name on the same filesystem. Once they are durable, a rename
that never replaces a file gives them their final name, and the folder is synced. A writer never
deletes a name: ``delete`` removes the temporary one, and the write can then no longer complete. A
write that fails truncates its file through its own descriptor, which frees the space at once, and
renames a file that already had its final name back to the temporary name.

While the marker is not the expected one (``filesystem/marker.py``), the store creates, writes,
deletes and lists nothing, and reports no blob as missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from imaged.core.blob import is_key
from imaged.core.block import Blocks
from imaged.core.errors import BlobMissing
from imaged.core.place_marker import PlaceKind
from imaged.core.summary import StoreSpace
from imaged.lanes import LaneFactory, ThreadLane
from imaged.ports.store import RecordUploadId, ignore_upload_id
from imaged.stores.filesystem.disk import (
    Disk,
    ThreadPool,
    move,
    os_errors_translated,
    size_and_free_bytes,
    sync_folder,
)
from imaged.stores.filesystem.marker import FolderMarker, require_root_folder
from imaged.stores.filesystem.reader import FilesystemReader
from imaged.stores.filesystem.self_test import FilesystemSelfTest
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.temporary_file import TemporaryFile, write_blocks
from imaged.stores.layout import StorePaths, require_key


class FilesystemStore:
    """Keeps blobs as files. Is a ``Store``."""

    def __init__(
        self,
        name: str,
        settings: FilesystemSettings,
        *,
        lanes: LaneFactory = ThreadLane,
        disk: Disk | None = None,
    ) -> None:
        self.name = name
        self.settles_after = timedelta(0)
        self._settings = settings
        self._lanes = lanes
        self._disk = disk or Disk()
        self._paths = StorePaths(settings.path)
        self._threads = ThreadPool(f"store-{name}", settings.threads)
        self.place = FolderMarker(
            PlaceKind.STORE,
            name,
            settings.path,
            self._threads,
            file_mode=settings.file_mode,
            disk=self._disk,
        )
        self._is_checked = False
        self._reading = ThreadPool(f"store-{name}-reading", settings.reading_threads)

    async def check(self) -> None:
        """Create missing folders inside the root, and test a write. Raises StoreError."""
        self_test = FilesystemSelfTest(self.name, self._paths, self._disk, self._settings)

        def run() -> None:
            self.place.require()
            self_test.run()
            self._is_checked = True

        await self._threads.run(run)

    async def put(
        self,
        key: str,
        blocks: Blocks,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Write a blob; returns its size in bytes. Writes of this store have no upload id."""
        del record
        require_key(self.name, key)
        file = BlobTemporaryFile(self.name, key, self._settings, self._disk, self.place)
        return await write_blocks(
            file,
            expected_bytes or 0,
            blocks,
            threads=self._threads,
            lanes=self._lanes,
        )

    @asynccontextmanager
    async def open(self, key: str, start: int = 0) -> AsyncIterator[FilesystemReader]:
        """Open a complete blob for reading from an offset. Entering raises BlobMissing."""
        require_key(self.name, key)
        blob = FilesystemReader(
            self.name, key, self._paths, self._disk, threads=self._reading, start=start
        )
        try:
            await self._open(blob)
            yield blob
        finally:
            await self._reading.run_shielded(blob.close, self._settings.hung_thread_timeout)

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """Remove the blob and any unfinished write of it. A missing blob is no error."""
        del upload_id
        require_key(self.name, key)
        await self._threads.run(partial(self._remove, key))

    async def delete_batch(self, keys: Sequence[str]) -> Sequence[str]:
        """Remove these blobs and any unfinished writes of them in one thread; each folder is synced
        once. Returns the keys of those that are gone.
        """
        for key in keys:
            require_key(self.name, key)
        return await self._threads.run(partial(self._remove_batch, keys))

    async def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """Every key with this prefix that has bytes, complete or unfinished.

        Unfinished writes come first, so a write that completes meanwhile is listed at least once.
        """
        await self.place.require_expected()
        unfinished = set()
        for name in await self._names(self._paths.temporary_folder):
            key = f"{name[:2]}/{name}"
            if is_key(key) and key.startswith(prefix):
                unfinished.add(key)
                yield key
        for folder in self._paths.blob_folders_for(prefix):
            for name in await self._names(folder):
                key = f"{folder.name}/{name}"
                if is_key(key) and key.startswith(prefix) and key not in unfinished:
                    yield key
        await self.place.require_expected()  # unmounted meanwhile, the list would be incomplete

    async def space(self) -> StoreSpace | None:
        """The size and the free space of the filesystem."""
        path = self._settings.path
        with os_errors_translated(self.name, path):
            size, free = await self._threads.run(partial(size_and_free_bytes, self._disk, path))
        return StoreSpace(size, free, self._settings.min_free_bytes)

    async def _open(self, blob: FilesystemReader) -> None:
        try:
            await self._reading.run(blob.open)
        except BlobMissing:
            await self.place.require_expected()  # on another disk, it says nothing of the blob
            raise

    def _remove(self, key: str) -> None:
        self.place.require()
        with os_errors_translated(self.name, self._paths.blob_path(key)):
            self._unlink(key)
            for folder in self._folders_of(key):
                sync_folder(self._disk, folder)

    def _remove_batch(self, keys: Sequence[str]) -> Sequence[str]:
        """All names are removed before the first folder is synced: that writes the journal of the
        filesystem for all of them, and the others have little left to do.
        """
        self.place.require()
        gone = []
        for key in keys:
            with suppress(OSError):
                self._unlink(key)
                gone.append(key)
        folders = dict.fromkeys(folder for key in gone for folder in self._folders_of(key))
        with os_errors_translated(self.name, self._settings.path):
            for folder in folders:
                sync_folder(self._disk, folder)
        self.place.require()  # unmounted meanwhile, what was missing is not gone
        return gone

    def _unlink(self, key: str) -> None:
        temporary, final = self._paths.temporary_path(key), self._paths.blob_path(key)
        for path in (temporary, final, temporary):  # a rename to the final name, or back
            with suppress(FileNotFoundError):
                self._disk.unlink(path)

    def _folders_of(self, key: str) -> Sequence[Path]:
        return self._paths.blob_path(key).parent, self._paths.temporary_folder

    async def _names(self, folder: Path) -> Sequence[str]:
        with os_errors_translated(self.name, folder):
            return await self._threads.run(partial(self._scan, folder))

    def _scan(self, folder: Path) -> Sequence[str]:
        try:
            return self._disk.scan(folder)
        except FileNotFoundError:
            require_root_folder(self.name, self._settings.path, self._disk)
            if self._is_checked:
                raise
            return ()  # the first check creates it


class BlobTemporaryFile(TemporaryFile):
    """One attempt to write one blob."""

    def __init__(
        self,
        store: str,
        key: str,
        settings: FilesystemSettings,
        disk: Disk,
        place: FolderMarker | None = None,
    ) -> None:
        paths = StorePaths(settings.path)
        super().__init__(store, key, paths.temporary_path(key), settings, disk, place=place)
        self._final = paths.blob_path(key)
        self._is_renamed = False

    def _require_unused(self) -> None:
        """Raises BlobExists, OSError."""
        with suppress(FileNotFoundError):
            self._disk.stat(self._final)
            raise self._exists()

    def _publish_name(self) -> None:
        try:
            move(self._disk, self._temporary, self._final)
        except FileExistsError:
            raise self._exists() from None
        except FileNotFoundError as error:
            for folder in (self._temporary.parent, self._final.parent):
                self._disk.stat(folder)  # a missing folder is reported as itself
            raise self._discarded() from error
        self._is_renamed = True
        sync_folder(self._disk, self._final.parent)

    def _roll_back(self, descriptor: int) -> None:
        if self._is_renamed:
            move(self._disk, self._final, self._temporary)
        self._disk.ftruncate(descriptor, 0)
