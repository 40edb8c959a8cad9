"""A file that threads use while the event loop may lose its patience with them.

Strategy. A thread that hangs on a stalled disk cannot be stopped. If its descriptor were closed,
the number would be given to the next file that is opened, and the thread would wake up and write
into that one. So users are counted, closing only forbids new use, and whoever leaves last closes:
mostly the one who asked for it, in the worst case a thread that nobody waits for any more.
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
    """One open file. ``before_close`` gets the descriptor when nobody uses it any more."""

    def __init__(self, disk: Disk, before_close: Callable[[int], None] | None = None) -> None:
        self._disk = disk
        self._before_close = before_close
        self._lock = threading.Lock()
        self._users = 0
        self._closing = False
        self._closed = threading.Event()
        self._descriptor: int | None = None

    def open(self, path: Path, flags: int, mode: int = 0o600) -> None:
        """Open it, once. Raises OSError."""
        with self._counted():
            flags |= os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = self._disk.open(path, flags, mode)

    @contextmanager
    def in_use(self) -> Iterator[int]:
        """The descriptor, which stays open in this block. Raises OSError (EBADF) after close."""
        with self._counted():
            if self._descriptor is None:
                raise _bad_descriptor()
            yield self._descriptor

    def close(self) -> None:
        """Close it as soon as nobody uses it. May be called again."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._users += 1
        self._leave()

    def wait_closed(self, timeout: float) -> None:
        """Wait until it is closed, for so many seconds at most."""
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
            with suppress(OSError):  # it is closed even so, and what matters was synced before
                self._disk.close(descriptor)


def _bad_descriptor() -> OSError:
    return OSError(errno.EBADF, os.strerror(errno.EBADF))
