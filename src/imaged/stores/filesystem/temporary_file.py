"""A file that is being written and does not have its final name yet.

Its subclasses know the final name and how the file gets it: a blob of a store
(``filesystem/store.py``), and an export to a folder (``exports/temporary_file.py``). Until then
the bytes have a temporary name, which shows that the write goes on: removing that name ends the
write.

Where a body has zeros, the file gets holes: they take no space and read as zeros.

Methods block. Several threads may be in them, and one of them may hang without end
(``disk.RefcountedFile``).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import structlog

from imaged.core.blob import image_id_of_key
from imaged.core.block import Block, Blocks, split_holes
from imaged.core.errors import BlobExists, WriteDiscarded
from imaged.core.limits import SMALL_BODY_BYTES
from imaged.lanes import LaneFactory
from imaged.stores.filesystem.disk import (
    Disk,
    RefcountedFile,
    ThreadPool,
    os_errors_translated,
    require_room,
    write_chunks,
)
from imaged.stores.filesystem.marker import FolderMarker
from imaged.stores.filesystem.settings import FilesystemSettings

log = structlog.get_logger()

MAX_IOVECS = os.sysconf("SC_IOV_MAX")

#: O_APPEND: data follows a hole.
TEMPORARY_FILE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND


class TemporaryFile(ABC):
    """One attempt to write one file. Ends with ``commit`` or with ``discard``.

    ``store`` and ``name`` appear in errors. ``place`` is checked before the first byte.
    """

    def __init__(
        self,
        store: str,
        name: str,
        temporary: Path,
        settings: FilesystemSettings,
        disk: Disk,
        *,
        place: FolderMarker | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._temporary = temporary
        self.settings = settings
        self._disk = disk
        self._place = place
        self._file = RefcountedFile(disk, before_close=self._clean_up)
        self._size_bytes = 0
        self._unchecked_bytes = 0
        self._is_kept = False

    def begin(self, expected_bytes: int = 0) -> None:
        """Create the file unless its final name is taken. Raises StoreFull, BlobExists, WrongPlace,
        StoreError.
        """
        mode = self.settings.file_mode
        with os_errors_translated(self._store, self._temporary):
            if self._place is not None:
                self._place.require()
            self._require_room(expected_bytes)
            self._require_unused()
            try:
                self._file.open(self._temporary, TEMPORARY_FILE_FLAGS, mode)
            except FileExistsError:
                raise self._exists() from None
            with self._file.in_use() as descriptor:
                self._disk.fchmod(descriptor, mode)  # independent of the umask

    def write(self, block: Block) -> None:
        """Append a block. Raises StoreFull, WriteDiscarded, StoreError."""
        with os_errors_translated(self._store, self._temporary), self._file.in_use() as descriptor:
            self._append(descriptor, block)
            self._unchecked_bytes += block.size_bytes
            if self._unchecked_bytes >= self.settings.space_check_every_bytes:
                self._unchecked_bytes = 0
                self._require_room()
                self._require_not_deleted(descriptor)

    def _append(self, descriptor: int, block: Block) -> None:
        end_bytes = self._size_bytes
        for piece in split_holes(block.chunks, self._size_bytes):
            if isinstance(piece, int):
                end_bytes += piece
                self._disk.ftruncate(descriptor, end_bytes)
            else:
                write_chunks(self._disk, descriptor, piece, MAX_IOVECS)
                end_bytes += sum(map(len, piece))
        self._size_bytes = end_bytes

    def flush(self) -> None:
        """Make the bytes written so far durable, so that less is left for the end."""
        with os_errors_translated(self._store, self._temporary), self._file.in_use() as descriptor:
            self._disk.fdatasync(descriptor)

    def publish(self) -> None:
        """Make the bytes durable and visible. Raises BlobExists, WriteDiscarded, StoreError."""
        with os_errors_translated(self._store, self._temporary), self._file.in_use() as descriptor:
            self._disk.fsync(descriptor)
            self._publish_name()

    def commit(self) -> None:
        """Keep the published file. Never blocks: the file is synced and no thread uses it."""
        self._is_kept = True
        self._file.close()

    def discard(self) -> None:
        """Ensure that nothing is or becomes visible; wait at most ``hung_thread_timeout`` for
        threads that hang.
        """
        self._file.close()
        self._file.wait_closed(self.settings.hung_thread_timeout.total_seconds())

    @abstractmethod
    def _require_unused(self) -> None:
        """Raises BlobExists if the final name is taken; OSError."""

    @abstractmethod
    def _publish_name(self) -> None:
        """Make the synced file visible, durably. Raises as ``publish`` does, and OSError."""

    @abstractmethod
    def _roll_back(self, descriptor: int) -> None:
        """Undo the publication and free the space. Raises OSError."""

    def _exists(self) -> BlobExists:
        return BlobExists(self._store, self._name)

    def _discarded(self) -> WriteDiscarded:
        return WriteDiscarded(self._store, self._name)

    def _require_room(self, expected_bytes: int = 0) -> None:
        require_room(
            self._store,
            self._disk,
            self.settings.path,
            min_free_bytes=self.settings.min_free_bytes,
            expected_bytes=expected_bytes,
        )

    def _require_not_deleted(self, descriptor: int) -> None:
        if self._disk.fstat(descriptor).st_nlink == 0:
            raise self._discarded()

    def _clean_up(self, descriptor: int) -> None:
        if self._is_kept:
            return
        try:
            self._roll_back(descriptor)
        except FileNotFoundError:
            return  # deleted meanwhile: closing the descriptor frees the space
        except OSError as error:
            log.warning(
                "write.left_behind",
                store=self._store,
                key=self._name,
                image_id=image_id_of_key(self._name),
                error=str(error),
            )


async def write_blocks(
    file: TemporaryFile,
    expected_bytes: int,
    blocks: Blocks,
    *,
    threads: ThreadPool,
    lanes: LaneFactory,
) -> int:
    """Begin the file, write all blocks in order and publish it; returns its size in bytes.

    ``expected_bytes``: this much space must be free; 0 if the size is unknown.

    Each time at least ``flush_every_bytes`` more were written, the file is flushed while the
    writing goes on. A small body is written by one call in a thread, after its last byte. After a
    return the bytes are durable and visible. After an exception nothing is visible, unless a thread
    hung for longer than ``hung_thread_timeout``.

    Raises what the file and ``blocks`` raise.
    """
    is_kept = False
    try:
        if 0 < expected_bytes <= SMALL_BODY_BYTES:
            gathered = [block async for block in blocks]
            size_bytes = sum(block.size_bytes for block in gathered)
            await threads.run(partial(_write_at_once, file, expected_bytes, gathered))
        else:
            await threads.run(partial(file.begin, expected_bytes))
            size_bytes = await _write(file, blocks, lanes)
            await threads.run(file.publish)
        file.commit()  # no await between here and the end, so no cancellation
        is_kept = True
    finally:
        if not is_kept:
            await threads.run_shielded(file.discard, file.settings.hung_thread_timeout)
    return size_bytes


async def _write(file: TemporaryFile, blocks: Blocks, lanes: LaneFactory) -> int:
    def flush(_size_bytes: int) -> None:
        file.flush()

    size_bytes = flushed_bytes = 0
    async with lanes(file.write) as writing, lanes(flush) as flushing:
        async for block in blocks:
            size_bytes += block.size_bytes
            await writing.feed(block)
            del block
            if size_bytes - flushed_bytes >= file.settings.flush_every_bytes:
                await flushing.feed(size_bytes)
                flushed_bytes = size_bytes
        await writing.drain()
        await flushing.drain()
    return size_bytes


def _write_at_once(file: TemporaryFile, expected_bytes: int, blocks: Sequence[Block]) -> None:
    file.begin(expected_bytes)
    for block in blocks:
        file.write(block)
    file.publish()
