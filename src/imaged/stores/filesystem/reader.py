"""Reads a complete blob of a folder, and sends it to sockets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from crc32c import crc32c

from imaged.core.errors import BlobMissing, StoreError
from imaged.stores.filesystem.disk import Disk, RefcountedFile, ThreadPool, os_errors_translated
from imaged.stores.filesystem.file_to_socket import FileToSocket
from imaged.stores.layout import StorePaths


class FilesystemReader:
    """Reads a complete blob forward from an offset, each read in a thread. Is a ``BlobReader``.

    POSIX keeps the file readable after it is deleted.
    """

    def __init__(
        self,
        store: str,
        key: str,
        paths: StorePaths,
        disk: Disk,
        *,
        threads: ThreadPool,
        start: int,
    ) -> None:
        self.size_bytes = 0
        self._store = store
        self._key = key
        self._path = paths.blob_path(key)
        self._disk = disk
        self._threads = threads
        self._file = RefcountedFile(disk)
        self._offset = start

    def open(self) -> None:
        """Open the file; blocks. Raises BlobMissing, StoreError."""
        with os_errors_translated(self._store, self._path):
            try:
                self._file.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                self._disk.stat(self._path.parent)  # a missing folder is reported as itself
                raise BlobMissing(self._store, self._key) from None
            with self._file.in_use() as descriptor:
                self.size_bytes = self._disk.fstat(descriptor).st_size

    def close(self) -> None:
        """Close the file; blocks. May be called again."""
        self._file.close()

    async def read(self, length: int) -> bytes:
        """Return the next ``length`` bytes, fewer at the end of the blob. Raises StoreError."""
        length = min(length, self.size_bytes - self._offset)
        if length <= 0:
            return b""
        data = await self._threads.run(partial(self._read, length, self._offset))
        self._offset += length
        return data

    def _read(self, length: int, offset: int) -> bytes:
        with os_errors_translated(self._store, self._path), self._file.in_use() as descriptor:
            data = self._disk.pread(descriptor, length, offset)
            while len(data) < length:  # more than 2 GiB at once, or the file was truncated
                more = self._disk.pread(descriptor, length - len(data), offset + len(data))
                if not more:
                    raise StoreError(self._store, self._cut_short(offset + len(data)))
                data += more
            return data

    async def read_checked(self, lengths: Sequence[int]) -> tuple[Sequence[bytes], int]:
        """Return the next chunks and their CRC-32C, by one thread. Raises StoreError."""
        checked = await self._threads.run(partial(self._read_checked, lengths, self._offset))
        self._offset += sum(lengths)
        return checked

    def _read_checked(self, lengths: Sequence[int], offset: int) -> tuple[Sequence[bytes], int]:
        chunks, checksum = [], 0
        for length in lengths:
            chunk = self._read(length, offset)
            checksum = crc32c(chunk, checksum)
            chunks.append(chunk)
            offset += length
        return chunks, checksum

    async def send_to(self, socket: int, length: int) -> int:
        """Send the next bytes to a socket. Raises ConnectionError, StoreError."""
        own = os.dup(socket)
        sending = FileToSocket(self._disk, own)
        work = partial(self._send, sending, min(length, self.size_bytes - self._offset))
        sent = await self._threads.run_then(work, partial(os.close, own))
        self._offset += sent
        return sent

    def _send(self, sending: FileToSocket, length: int) -> int:
        with os_errors_translated(self._store, self._path), self._file.in_use() as descriptor:
            sent = sending.send(descriptor, self._offset, length)
        if sending.peer_error is not None:
            raise sending.peer_error
        if sending.is_at_end and sent < length:
            raise StoreError(self._store, self._cut_short(self._offset + sent))
        return sent

    def _cut_short(self, found_bytes: int) -> str:
        return (
            f"lost bytes of {self._path}: it ends after {found_bytes} of {self.size_bytes}; "
            "check for errors of the disk, and for other processes that write there"
        )
