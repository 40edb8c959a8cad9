"""Whether the kernel has a whole file in memory, so that reading it never waits for a disk.

Source: mincore(2). Since Linux 5.2 it tells the truth only to those who may write the file; the
daemon may write its catalog.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
from pathlib import Path
from typing import ClassVar

from imaged.core.limits import GIB

VALID_SECONDS = 1.0  # of a check
MAX_BYTES = 4 * GIB

_PROT_NONE, _MAP_SHARED = 0, 1
_FAILED = ctypes.c_void_p(-1).value
_IN_MEMORY = 1  # the lowest bit of a page's byte

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
]  # fmt: skip
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


class PageCache:
    """Knows whether a catalog was in memory a moment ago.

    The file of the catalog is opened once in a process, and stays open until the last ``close``:
    closing any descriptor of it drops all locks that SQLite has on it in this process (POSIX,
    fcntl(2)); then another process would remove the log as if it were the last one. SQLite locks
    nothing in the log itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._file: _OpenFile | None = None
        self._checked_at = -VALID_SECONDS
        self.is_in_memory = False

    def is_check_due(self) -> bool:
        """Whether the caller must ``check`` in a thread; others rely on the last check."""
        now = time.monotonic()
        if now - self._checked_at < VALID_SECONDS:
            return False
        self._checked_at = now
        return True

    def check(self) -> None:
        """Look again. Takes a few milliseconds for each gigabyte."""
        self.is_in_memory = self._is_catalog_in_memory() and is_in_memory(self._log, MAX_BYTES)

    def close(self) -> None:
        """Call it after the last connection of this catalog was closed."""
        if self._file is not None:
            self._file.release()
            self._file = None

    def _is_catalog_in_memory(self) -> bool:
        try:
            if self._file is None:
                self._file = _OpenFile.acquire(self._path)
            return _is_open_file_in_memory(self._file.descriptor, MAX_BYTES)
        except FileNotFoundError:
            return True
        except OSError:
            return False


class _OpenFile:
    """The only descriptor of a file that this module has in this process."""

    _opened: ClassVar[dict[tuple[int, int], _OpenFile]] = {}  # by device and inode
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._users = 0

    @classmethod
    def acquire(cls, path: Path) -> _OpenFile:
        """Open the file, unless it is open. Raises OSError."""
        with cls._lock:
            file = cls._opened.get(_identity(path.stat()))
            if file is None:
                file = cls(path)
                cls._opened[_identity(os.fstat(file.descriptor))] = file
            file._users += 1
            return file

    def release(self) -> None:
        """Close the file if this was its last user."""
        with self._lock:
            self._users -= 1
            if not self._users:
                del self._opened[_identity(os.fstat(self.descriptor))]
                os.close(self.descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def is_in_memory(path: Path, max_bytes: int) -> bool:
    """Whether each page of the file is in the page cache. False if the file is longer than
    ``max_bytes``, or if it cannot be determined; a missing or empty file has no page.

    Takes a few milliseconds for each gigabyte, and reads nothing of the file.
    """
    try:
        with path.open("rb") as file:
            return _is_open_file_in_memory(file.fileno(), max_bytes)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _is_open_file_in_memory(descriptor: int, max_bytes: int) -> bool:
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes > max_bytes:
        return False
    return size_bytes == 0 or _all_pages_in_memory(descriptor, size_bytes)


def _all_pages_in_memory(descriptor: int, size_bytes: int) -> bool:
    start = _libc.mmap(None, size_bytes, _PROT_NONE, _MAP_SHARED, descriptor, 0)
    if start == _FAILED:
        return False
    try:
        pages = ctypes.create_string_buffer(-(-size_bytes // mmap.PAGESIZE))
        if _libc.mincore(start, size_bytes, pages) != 0:
            return False
        return all(page & _IN_MEMORY for page in pages.raw)
    finally:
        _libc.munmap(start, size_bytes)
