"""A transport that counts what it writes, and lingers before it closes.

An answer sent before the request was read to its end would be lost if the connection were closed
behind it: the system then sends a reset, and a client that is still sending never reads the
answer. So ``close`` calls the connection, which discards input for a while first (RFC 9112, 9.6).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_INT = struct.Struct("i")
_EMPTY = bytes(_INT.size)
_NO_LINGER = struct.pack("ii", 1, 0)


class LingeringTransport(asyncio.Transport):
    """Wraps the transport of one connection. ``linger``: called by the first ``close``."""

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._linger = linger
        self._is_ending = False
        self._written_bytes = 0
        self._held_bytes = 0  # of a file that is sent around the transport

    @property
    def buffered_bytes(self) -> int:
        """Bytes that wait in this process for the client, or in a file."""
        return self._transport.get_write_buffer_size() + self._held_bytes

    @property
    def acknowledged_bytes(self) -> int:
        """Written bytes that the peer has acknowledged."""
        in_memory = self._transport.get_write_buffer_size()
        return self._written_bytes - in_memory - self._queued_bytes()

    def write(self, data: Any) -> None:
        """Send data, and count it."""
        self._written_bytes += len(data)
        self._transport.write(data)

    @contextmanager
    def holding(self, size_bytes: int) -> Iterator[None]:
        """Count bytes of a file as buffered during the block, which waits for the client."""
        self._held_bytes = size_bytes
        try:
            yield
        finally:
            self._held_bytes = 0

    def count_sent(self, size_bytes: int) -> None:
        """Count bytes that were sent around the transport."""
        self._written_bytes += size_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many buffered bytes pause writing; see asyncio.WriteTransport."""
        self._transport.set_write_buffer_limits(high, low)

    def close(self) -> None:
        """Close the connection by way of ``linger``."""
        if not self._is_ending:
            self._is_ending = True
            self._linger()

    def abort(self) -> None:
        """Reset the connection: unsent data is dropped, in the kernel too."""
        self._is_ending = True
        with suppress(OSError):  # already closed
            link = self._transport.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def flush_and_close(self) -> None:
        """Close the connection after all written data is sent."""
        self._is_ending = True
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether writing is over."""
        return self._is_ending or self._transport.is_closing()

    def write_eof(self) -> None:
        """Close the sending half of the connection."""
        self._transport.write_eof()

    def pause_reading(self) -> None:
        """Stop reading from the socket."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the socket again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about the connection; see asyncio.BaseTransport."""
        return self._transport.get_extra_info(name, default)

    def _queued_bytes(self) -> int:
        """Bytes in the kernel's send queue; the buffer of the process moves in steps of MiB."""
        try:
            queued = fcntl.ioctl(self._transport.get_extra_info("socket"), termios.TIOCOUTQ, _EMPTY)
        except (OSError, ValueError):  # already closed
            return 0
        return int(_INT.unpack(queued)[0])
