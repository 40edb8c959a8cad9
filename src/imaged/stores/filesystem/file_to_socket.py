"""Sends a file to a socket by sendfile(2): no byte passes through the memory of this process.

A call blocks, for the disk and for a peer that reads quickly: it goes on for up to ``TURN_SECONDS``
and waits for the peer for ``PATIENCE_SECONDS`` at a time. So a quick peer costs few hand-overs
between threads, and a slow one holds no thread.
"""

from __future__ import annotations

import errno
import os
import select
from time import monotonic

from imaged.core.limits import KIB, MIB
from imaged.stores.filesystem.disk import Disk

TURN_SECONDS = 0.05
PATIENCE_SECONDS = 0.005
PIECE_BYTES = 4 * MIB  # of one call of the kernel, which does not stop for signals before its end
COPIED_BYTES = 256 * KIB
#: Of filesystems that lack sendfile.
NO_SENDFILE_ERRNOS = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


class FileToSocket:
    """Sends once. ``socket``: a descriptor that does not block."""

    def __init__(self, disk: Disk, socket: int) -> None:
        self._disk = disk
        self._socket = socket
        self._can_sendfile = True
        self.peer_error: ConnectionError | None = None
        self.is_at_end = False  # of the file

    def send(self, file: int, offset: int, length: int) -> int:
        """Send at most ``length`` bytes of the file; returns how many. Raises OSError of the file;
        one of the peer is kept in ``peer_error``.
        """
        sent, until = 0, monotonic() + TURN_SECONDS
        try:
            while sent < length and monotonic() < until:
                moved = self._move(file, offset + sent, min(length - sent, PIECE_BYTES))
                if moved is None:
                    if not self._peer_reads():
                        break
                elif not moved:
                    self.is_at_end = True
                    break
                else:
                    sent += moved
        except ConnectionError as error:
            self.peer_error = error
        return sent

    def _move(self, file: int, offset: int, length: int) -> int | None:
        """Move some bytes; None if the socket is full, 0 at the end of the file."""
        try:
            if self._can_sendfile:
                try:
                    return self._disk.sendfile(self._socket, file, offset, length)
                except OSError as error:
                    if error.errno not in NO_SENDFILE_ERRNOS:
                        raise
                    self._can_sendfile = False
            data = self._disk.pread(file, min(length, COPIED_BYTES), offset)
            return os.write(self._socket, data) if data else 0
        except BlockingIOError:
            return None

    def _peer_reads(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(PATIENCE_SECONDS * 1000))
