"""How drivers of folders use the operating system: calls, errors, and threads that may hang.

All calls stand in one place so that a test can record each of them, or let it fail. They block, so
they are made in threads; each store has its own, so a stalled disk stalls no other store. Errors
get a remedy at the driver's border.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB, NO_SPACE_ERRNOS
from imaged.lanes import wait_shielded

AT_FDCWD = -100  # <fcntl.h>: paths are not relative to an open folder
RENAME_NOREPLACE = 1  # <linux/fs.h>
NO_RENAME_ERRNOS = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
ERRNO_REMEDIES = {
    errno.ENOSPC: "free some space, or enlarge the filesystem",
    errno.EDQUOT: "raise the quota of the user that imaged runs as",
    errno.EFBIG: "the filesystem, or a limit of the process, allows no larger file",
    errno.EIO: "check the kernel's log for disk errors",
    errno.EROFS: "check the kernel's log for the reason, and mount it writable",
    errno.EACCES: "it must belong to the user that imaged runs as, with the right to write",
    errno.EPERM: "it must belong to the user that imaged runs as, with the right to write",
    errno.ENOENT: "mount its filesystem, if it is not mounted",
    errno.ENOTDIR: "it must be a folder",
    errno.ESTALE: "mount its filesystem again",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE) of the service",
    errno.ENFILE: "raise the system's limit of open files (fs.file-max)",
    errno.EXDEV: "it must be on one filesystem with the rest of the store",
    errno.ELOOP: "it must not be a symbolic link",
}
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def _rename_noreplace(source: Path, target: Path) -> None:
    """Rename atomically; never replace a file. Raises the kernel's OSError."""
    call: Callable[..., int] | None = getattr(_libc, "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def _list_files(folder: Path) -> Sequence[str]:
    """The names of the regular files in a folder."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


class Disk:
    """The calls. All of them block and raise OSError."""

    open = staticmethod(os.open)
    close = staticmethod(os.close)
    writev = staticmethod(os.writev)
    pread = staticmethod(os.pread)
    sendfile = staticmethod(os.sendfile)
    ftruncate = staticmethod(os.ftruncate)
    fchmod = staticmethod(os.fchmod)
    fsync = staticmethod(os.fsync)
    fdatasync = staticmethod(os.fdatasync)
    fstat = staticmethod(os.fstat)
    stat = staticmethod(os.stat)
    statvfs = staticmethod(os.statvfs)
    mkdir = staticmethod(os.mkdir)
    chmod = staticmethod(os.chmod)
    chown = staticmethod(os.chown)
    rename = staticmethod(_rename_noreplace)
    replace = staticmethod(os.replace)
    link = staticmethod(os.link)
    flock = staticmethod(fcntl.flock)
    unlink = staticmethod(os.unlink)
    scan = staticmethod(_list_files)


def move(disk: Disk, source: Path, target: Path) -> None:
    """Rename without replacing a file, also on filesystems that lack RENAME_NOREPLACE.

    Those need two steps (link, unlink), with both names in between. A source that cannot be removed
    is then only a second name of the same bytes; a source that is missing was deleted meanwhile.
    Raises FileExistsError, FileNotFoundError, OSError.
    """
    try:
        disk.rename(source, target)
    except OSError as error:
        if error.errno not in NO_RENAME_ERRNOS:
            raise
        disk.link(source, target)
        try:
            disk.unlink(source)
        except FileNotFoundError:
            raise
        except OSError:
            return


def sync_folder(disk: Disk, folder: Path) -> None:
    """Make names that were added to a folder or removed from it survive a power cut."""
    descriptor = disk.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def write_chunks(disk: Disk, descriptor: int, chunks: Sequence[bytes], limit: int) -> None:
    """Write all chunks, at most ``limit`` per call, repeating short writes. Raises OSError."""
    pending: list[bytes | memoryview] = [chunk for chunk in chunks if chunk]
    first = 0
    while first < len(pending):
        written = disk.writev(descriptor, pending[first : first + limit])
        if written <= 0:
            raise OSError(errno.EIO, "nothing more could be written")
        while first < len(pending) and written >= len(pending[first]):
            written -= len(pending[first])
            first += 1
        if written:
            pending[first] = memoryview(pending[first])[written:]


def size_and_free_bytes(disk: Disk, path: Path) -> tuple[int, int]:
    """The size of the filesystem, and the space in it that users other than root may take; both in
    bytes. Raises OSError.
    """
    figures = disk.statvfs(path)
    return figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize


def free_bytes(disk: Disk, path: Path) -> int:
    """The free space for users other than root, in bytes. Raises OSError."""
    return size_and_free_bytes(disk, path)[1]


def require_room(
    store: str, disk: Disk, path: Path, *, min_free_bytes: int, expected_bytes: int = 0
) -> None:
    """Refuse a write that would leave less than ``min_free_bytes``. Raises StoreFull, OSError."""
    left = free_bytes(disk, path) - expected_bytes
    if left < min_free_bytes:
        raise StoreFull(
            store,
            f"has too little room at {path}: {left // MIB} MiB would be left, and "
            f"{min_free_bytes // MIB} MiB must stay free (min_free)",
        )


class RefcountedFile:
    """One open file, which threads may still use after the event loop has stopped waiting for them.

    A thread that hangs on a stalled disk cannot be stopped. If its descriptor were closed, the next
    file opened would get the same number, and the thread would wake up and write into that file. So
    users are counted: ``close`` only forbids new use, and the last user to leave closes the
    descriptor. That is usually the caller of ``close``, in the worst case an abandoned thread.

    ``before_close`` gets the descriptor once it has no user.
    """

    def __init__(self, disk: Disk, before_close: Callable[[int], None] | None = None) -> None:
        self._disk = disk
        self._before_close = before_close
        self._lock = threading.Lock()
        self._users = 0
        self._closing = False
        self._closed = threading.Event()
        self._descriptor: int | None = None

    def open(self, path: Path, flags: int, mode: int = 0o600) -> None:
        """Open the file, once. Raises OSError."""
        with self._counted():
            flags |= os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = self._disk.open(path, flags, mode)

    @contextmanager
    def in_use(self) -> Iterator[int]:
        """The descriptor, kept open for this block. Raises OSError (EBADF) after close."""
        with self._counted():
            if self._descriptor is None:
                raise _bad_descriptor()
            yield self._descriptor

    def close(self) -> None:
        """Close the file once it has no user. May be called again."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._users += 1
        self._leave()

    def wait_closed(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds until the file is closed."""
        self._closed.wait(timeout)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            if self._closing:
                raise _bad_descriptor()
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            is_last = self._closing and self._users == 0
        if is_last:
            self._end()

    def _end(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        try:
            if descriptor is not None:
                self._close_descriptor(descriptor)
        finally:
            self._closed.set()

    def _close_descriptor(self, descriptor: int) -> None:
        try:
            if self._before_close is not None:
                self._before_close(descriptor)
        finally:
            with suppress(OSError):  # it is closed anyway, and data that matters was synced
                self._disk.close(descriptor)


def _bad_descriptor() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))


class ThreadPool:
    """A thread pool whose threads start when they are needed."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns. When cancelled, abandon the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def run_then(self, work: Callable[[], T], after: Callable[[], object]) -> T:
        """Return what the work returns. ``after`` is called when the thread has ended, also one
        that was abandoned, and when it never began.
        """
        running = self._pool.submit(work)
        running.add_done_callback(lambda _: after())
        return await asyncio.wrap_future(running)

    async def run_shielded(self, work: Callable[[], None], patience: timedelta) -> None:
        """Run the work shielded from cancellation; wait for it at most ``patience``."""
        await wait_shielded(asyncio.wrap_future(self._pool.submit(work)), patience)


@contextmanager
def os_errors_translated(store: str, path: Path) -> Iterator[None]:
    """Translate every OSError of the block. Raises StoreFull, StoreError."""
    try:
        yield
    except OSError as error:
        raise store_error_of(store, path, error) from error


def store_error_of(store: str, path: Path, error: OSError) -> StoreError:
    """Translate an error about a path."""
    number = error.errno or 0
    why = f"cannot use {path}: {os.strerror(number) if number else error}"
    if number in ERRNO_REMEDIES:
        why = f"{why}; {ERRNO_REMEDIES[number]}"
    return StoreFull(store, why) if number in NO_SPACE_ERRNOS else StoreError(store, why)
