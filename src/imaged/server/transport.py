"""A transport as the server's library sees it: what it writes is counted, and who closes lingers.

An answer that comes before the request was read to its end would be lost, if the connection were
closed behind it: the system then sends a reset, and a client that is still sending never gets to
read. So closing is left to the connection, which first listens a while without heeding.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_INT = struct.Struct("i")
_EMPTY = bytes(_INT.size)
_NO_LINGER = struct.pack("ii", 1, 0)


class LingeringTransport(asyncio.Transport):
    """One connection's way to its client."""

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._linger = linger
        self._is_ending = False
        self._written_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """How much of what was written is still in the memory of this process."""
        return self._transport.get_write_buffer_size()

    @property
    def acknowledged_bytes(self) -> int:
        """How much of what was written the other side has acknowledged."""
        return self._written_bytes - self.buffered_bytes - self._queued_bytes()

    def write(self, data: Any) -> None:
        """Send, as soon as the other side takes it."""
        self._written_bytes += len(data)
        self._transport.write(data)

    def close(self) -> None:
        """End the connection, in the way that the moment asks for."""
        if not self._is_ending:
            self._is_ending = True
            self._linger()

    def abort(self) -> None:
        """End it at once, by a reset: the system forgets what it has still to send, too."""
        self._is_ending = True
        with suppress(OSError):  # it has just been closed
            link = self._transport.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def flush_and_close(self) -> None:
        """End it as soon as what was written is sent."""
        self._is_ending = True
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._is_ending or self._transport.is_closing()

    def write_eof(self) -> None:
        """Tell the other side that nothing more comes."""
        self._transport.write_eof()

    def pause_reading(self) -> None:
        """Let the other side wait."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def _queued_bytes(self) -> int:
        """What the system has still to send: the buffer alone moves by megabytes, or not at all."""
        try:
            queued = fcntl.ioctl(self._transport.get_extra_info("socket"), termios.TIOCOUTQ, _EMPTY)
        except (OSError, ValueError):  # it has just been closed
            return 0
        return int(_INT.unpack(queued)[0])
