"""Exports to a folder of this machine, which must not belong to a store.

What it creates: files for their owner alone, unless the settings say otherwise; the folders that
their names ask for; and ``.imaged-<task id>.<attempt>`` beside them (``delivery.py``). The root is
never created: a folder made where a filesystem should be mounted would fill the disk below it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import anyio

from imaged.core.block import Block
from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.core.places import PlaceKind
from imaged.exports.border import border, label_of
from imaged.exports.delivery import Delivery, try_lock
from imaged.exports.tree import NO_FOLDER, folder_of, identity, is_name_of
from imaged.exports.unfinished import task_of, unfinished_name
from imaged.lanes import LaneFactory, QuietLane
from imaged.ports.export import Parcel
from imaged.stores.disk import Disk, sync_folder
from imaged.stores.disk_errors import explained
from imaged.stores.filesystem import CLEAN_UP_PATIENCE
from imaged.stores.filesystem_settings import FilesystemSettings
from imaged.stores.filling import fill
from imaged.stores.marked_folder import FolderPlace, MarkedFolder
from imaged.stores.shared_file import SharedFile
from imaged.stores.threads import Threads

TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
UNDECIDED = (
    "an attempt before this one, which hangs, may still take it away: look at the filesystem, then "
    "ask for the export again"
)
CALL_SECONDS = 60.0  # for one call that moves no data

T = TypeVar("T")


class Folder:
    """A Destination (``ports/export.py``)."""

    has_limits = False

    def __init__(
        self,
        name: str,
        settings: FilesystemSettings,
        *,
        lanes: LaneFactory = QuietLane,
        disk: Disk | None = None,
    ) -> None:
        self.name = name
        self._label = label_of(name)
        self._settings = settings
        self._root = settings.path
        self._lanes = lanes
        self._disk = disk or Disk()
        self._threads = Threads(f"export-{name}", settings.threads)
        place = FolderPlace(PlaceKind.EXPORTS, name, settings.path, self._label, settings.file_mode)
        self.place = MarkedFolder(place, self._threads, self._disk)

    def location_of(self, file_name: str) -> str:
        """Its path."""
        return str(self._root / file_name)

    async def check(self) -> None:
        """Rehearse a delivery. Raises ExportError with what to do."""
        with border(self.name):
            await self._call(self._rehearse)

    async def has(self, file_name: str) -> bool:
        """Whether something of this name is there."""
        with border(self.name), explained(self._label, self._root):
            return await self._call(partial(self._has, file_name))

    async def has_delivered(self, parcel: Parcel) -> bool:
        """Whether a file of the task has this name too."""
        with border(self.name), explained(self._label, self._root):
            return await self._call(partial(self._has_delivered, parcel))

    async def deliver(
        self, parcel: Parcel, blocks: AsyncIterable[Block], expected_bytes: int | None = None
    ) -> int:
        """Write a file; its size in bytes. Raises ExportExists, ExportFull, ExportError."""
        with border(self.name):
            return await fill(
                self._delivery(parcel),
                expected_bytes or 0,
                blocks,
                threads=self._threads,
                lanes=self._lanes,
                flush_every_bytes=self._settings.flush_every_bytes,
                patience=CLEAN_UP_PATIENCE,
            )

    async def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of a file."""
        path, file = self._root / file_name, SharedFile(self._disk)

        def read(at: int) -> bytes:
            with file.in_use() as descriptor:
                return self._disk.pread(descriptor, MIB, at)

        try:
            with border(self.name), explained(self._label, path):
                await self._call(partial(file.open, path, os.O_RDONLY))
            offset = 0
            while True:
                with border(self.name), explained(self._label, path):
                    data = await self._call(partial(read, offset))
                if not data:
                    return
                offset += len(data)
                yield data
        finally:
            file.close()

    async def leftovers(self) -> set[str]:
        """The tasks that have something here."""
        with border(self.name), explained(self._label, self._root):
            names = await self._call(partial(self._disk.scan, self._root))
        return {task_id for name in names if (task_id := task_of(name))}

    async def remove(self, task_id: str) -> None:
        """Remove what is not, or no longer, needed."""
        with border(self.name), explained(self._label, self._root):
            await self._call(partial(self._remove, task_id))

    async def close(self) -> None:
        """Nothing is held."""

    async def _call(self, work: Callable[[], T]) -> T:
        """Have a thread do it. A filesystem that hangs is not waited for: the thread is left."""
        with anyio.move_on_after(CALL_SECONDS):
            return await self._threads.run(work)
        why = f"did not answer within {CALL_SECONDS:g} s: does the filesystem of {self._root} hang"
        raise StoreError(self._label, why)

    def _delivery(self, parcel: Parcel) -> Delivery:
        return Delivery(
            self._label,
            self._settings,
            self._disk,
            unfinished_name(parcel),
            parcel.file_name,
            place=self.place,
        )

    def _has(self, file_name: str) -> bool:
        try:
            return identity(self._disk, self._root, file_name) is not None
        except NO_FOLDER:
            return True  # a part of its name is a file

    def _has_delivered(self, parcel: Parcel) -> bool:
        try:
            found = identity(self._disk, self._root, parcel.file_name)
        except NO_FOLDER:
            return False
        if found is None:
            return False
        written = [identity(self._disk, self._root, name) for name in self._of(parcel.task_id)]
        if found not in written:
            return False
        return self._is_decided(parcel.file_name)

    def _is_decided(self, file_name: str) -> bool:
        """Whether a file that has its name keeps it. Raises StoreError where nobody knows yet."""
        with (
            suppress(FileNotFoundError),
            folder_of(self._disk, self._root, file_name) as (folder, last),
        ):
            descriptor = self._disk.open(last, TO_READ, dir_fd=folder)
            try:
                if not try_lock(self._disk, descriptor):
                    raise StoreError(self._label, f"has {file_name}, and {UNDECIDED}")
                self._disk.fsync(folder)  # the attempt may have died before it did so
                return is_name_of(self._disk, descriptor, folder, last)
            finally:
                self._disk.close(descriptor)
        return False  # taken back

    def _of(self, task_id: str) -> list[str]:
        return [name for name in self._disk.scan(self._root) if task_of(name) == task_id]

    def _remove(self, task_id: str) -> None:
        for name in self._of(task_id):
            with suppress(FileNotFoundError):
                self._disk.unlink(self._root / name)
        sync_folder(self._disk, self._root)

    def _rehearse(self) -> None:
        """What a crash leaves of it has the name of a task that nobody knows, and is removed."""
        self._require_root()
        task_id = str(uuid4())
        last = unfinished_name(Parcel(task_id, uuid4(), ""))
        delivery = self._delivery(Parcel(task_id, uuid4(), last))
        try:
            delivery.begin()
            delivery.write(Block([b"imaged"]))
            delivery.publish()
        except StoreFull:
            return  # it may have room later, and until then exports say so
        finally:
            delivery.discard(CLEAN_UP_PATIENCE.total_seconds())

    def _require_root(self) -> None:
        if not Path(self._root).is_dir():
            raise StoreError(
                self._label,
                f"needs the folder {self._root}, which is missing or no folder: mount its "
                "filesystem, or create it",
            )
