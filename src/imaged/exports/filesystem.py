"""Exports to a folder of this machine, which must not belong to a store.

It creates files that only their owner can read, unless the settings say otherwise; the subfolders
in their names; and ``.imaged-<task id>.<attempt>`` beside them (``temporary_file.py``). It never
creates the root: a folder made in the place of a mount point would fill the disk below it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import anyio

from imaged.core.block import Block, Blocks
from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.core.place_marker import PlaceKind
from imaged.exports.conventions import store_label, task_id_of, temporary_name, translated_errors
from imaged.exports.temporary_file import (
    NOT_A_FOLDER_ERRORS,
    ExportTemporaryFile,
    file_id,
    is_same_file,
    open_parent,
    try_lock,
)
from imaged.lanes import BackgroundLane, LaneFactory
from imaged.ports.export import ExportFile
from imaged.stores.filesystem.disk import (
    Disk,
    RefcountedFile,
    ThreadPool,
    os_errors_translated,
    sync_folder,
)
from imaged.stores.filesystem.marker import FolderMarker, require_root_folder
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.temporary_file import write_blocks

OPEN_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
ROLLBACK_HANGS = (
    "an attempt before this one, which hangs, may still take it away: check the filesystem, then "
    "ask for the export again"
)

T = TypeVar("T")


class FilesystemExport:
    """Writes exports to a folder. Is a ``Destination`` (``ports/export.py``).

    ``call_timeout``: the limit of one call that moves no data.
    """

    has_own_timeout = False

    def __init__(
        self,
        name: str,
        settings: FilesystemSettings,
        *,
        lanes: LaneFactory = BackgroundLane,
        disk: Disk | None = None,
        call_timeout: timedelta = timedelta(seconds=60),
    ) -> None:
        self.name = name
        self._label = store_label(name)
        self._call_timeout_seconds = call_timeout.total_seconds()
        self._settings = settings
        self._root = settings.path
        self._lanes = lanes
        self._disk = disk or Disk()
        self._threads = ThreadPool(f"export-{name}", settings.threads)
        self.place = FolderMarker(
            PlaceKind.EXPORTS,
            name,
            settings.path,
            self._threads,
            label=self._label,
            file_mode=settings.file_mode,
            disk=self._disk,
        )

    def location_of(self, file_name: str) -> str:
        """Its path."""
        return str(self._root / file_name)

    async def check(self) -> None:
        """Test an export. Raises ExportError with the remedy."""
        await self._call(self._test_write)

    async def has(self, file_name: str) -> bool:
        """Whether a file of this name exists."""
        return await self._call(partial(self._has, file_name))

    async def has_delivered(self, export_file: ExportFile) -> bool:
        """Whether a file of the task has this name too."""
        return await self._call(partial(self._has_delivered, export_file))

    async def deliver(
        self, export_file: ExportFile, blocks: Blocks, expected_bytes: int | None = None
    ) -> int:
        """Write a file; returns its size in bytes. Raises ExportExists, ExportFull, ExportError."""
        with translated_errors(self.name):
            return await write_blocks(
                self._temporary_file(export_file),
                expected_bytes or 0,
                blocks,
                threads=self._threads,
                lanes=self._lanes,
            )

    async def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of a file."""
        path, file = self._root / file_name, RefcountedFile(self._disk)

        def read(at: int) -> bytes:
            with file.in_use() as descriptor:
                return self._disk.pread(descriptor, MIB, at)

        try:
            await self._call(partial(file.open, path, os.O_RDONLY), path)
            offset = 0
            while data := await self._call(partial(read, offset), path):
                offset += len(data)
                yield data
        finally:
            file.close()

    async def leftovers(self) -> set[str]:
        """The tasks that have files here."""
        names = await self._call(partial(self._disk.scan, self._root))
        return {task_id for name in names if (task_id := task_id_of(name))}

    async def remove(self, task_id: str) -> None:
        """Remove files that are not, or no longer, needed."""
        await self._call(partial(self._remove, task_id))

    async def close(self) -> None:
        """Nothing to close."""

    async def _call(self, work: Callable[[], T], path: Path | None = None) -> T:
        """Run a call in a thread. If the filesystem hangs, the thread is abandoned.

        Raises ExportExists, ExportFull, ExportError. ``path``: what the call is about.
        """
        with translated_errors(self.name), os_errors_translated(self._label, path or self._root):
            with anyio.move_on_after(self._call_timeout_seconds):
                return await self._threads.run(work)
            raise StoreError(
                self._label,
                f"did not answer within {self._call_timeout_seconds:g} s: check whether the "
                f"filesystem of {self._root} hangs",
            )

    def _temporary_file(self, export_file: ExportFile) -> ExportTemporaryFile:
        return ExportTemporaryFile(
            self._label,
            self._settings,
            self._disk,
            temporary_name(export_file),
            export_file.file_name,
            place=self.place,
        )

    def _has(self, file_name: str) -> bool:
        try:
            return file_id(self._disk, self._root, file_name) is not None
        except NOT_A_FOLDER_ERRORS:
            return True  # a part of its name is a file

    def _has_delivered(self, export_file: ExportFile) -> bool:
        try:
            found = file_id(self._disk, self._root, export_file.file_name)
        except NOT_A_FOLDER_ERRORS:
            return False
        if found is None:
            return False
        written = [file_id(self._disk, self._root, name) for name in self._of(export_file.task_id)]
        if found not in written:
            return False
        return self._is_decided(export_file.file_name)

    def _is_decided(self, file_name: str) -> bool:
        """Whether a file keeps its final name. Raises StoreError while that is unknown."""
        with (
            suppress(FileNotFoundError),
            open_parent(self._disk, self._root, file_name) as (folder, last),
        ):
            descriptor = self._disk.open(last, OPEN_FILE_FLAGS, dir_fd=folder)
            try:
                if not try_lock(self._disk, descriptor):
                    raise StoreError(self._label, f"has {file_name}, and {ROLLBACK_HANGS}")
                self._disk.fsync(folder)  # the attempt may have died before it did so
                return is_same_file(self._disk, descriptor, folder, last)
            finally:
                self._disk.close(descriptor)
        return False  # rolled back

    def _of(self, task_id: str) -> list[str]:
        return [name for name in self._disk.scan(self._root) if task_id_of(name) == task_id]

    def _remove(self, task_id: str) -> None:
        for name in self._of(task_id):
            with suppress(FileNotFoundError):
                self._disk.unlink(self._root / name)
        sync_folder(self._disk, self._root)

    def _test_write(self) -> None:
        """If it crashes, the file has the name of an unknown task, and the clean-up removes it."""
        require_root_folder(self._label, self._root, self._disk)
        task_id = str(uuid4())
        last = temporary_name(ExportFile(task_id, uuid4(), ""))
        file = self._temporary_file(ExportFile(task_id, uuid4(), last))
        try:
            file.begin()
            file.write(Block([b"imaged"]))
            file.publish()
        except StoreFull:
            return  # it may have room later; until then exports fail with this error
        finally:
            file.discard()
