"""A file that threads may still use after the event loop has stopped waiting for them.

Strategy. A thread that hangs on a stalled disk cannot be stopped. If its descriptor were closed,
the next file opened would get the same number, and the thread would wake up and write into that
file. So users are counted: ``close`` only forbids new use, and the last user to leave closes the
descriptor. That is usually the caller of ``close``, in the worst case an abandoned thread.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaged.stores.filesystem.disk import Disk


class RefcountedFile:
    """One open file. ``before_close`` gets the descriptor once it has no user."""

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
