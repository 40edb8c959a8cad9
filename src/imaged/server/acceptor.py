"""Accepts connections from a socket that several processes share, so that each gets its part.

The kernel wakes every process that waits, and the first that runs could accept a whole burst: one
processor would then answer everything, for as long as clients keep their connections. So a process
that has more connections than another one leaves a new one to it for a moment.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from imaged.server.connection_counts import SharedSlot

LEAVE_SECONDS = 0.002  # that a connection waits for a process with fewer; it may be busy, or hang
RETRY_SECONDS = 1.0  # after an error, such as too many open files: asyncio waits as long


class Acceptor:
    """Accepts from one socket until closed. ``make_protocol``: called for each connection."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        counts: SharedSlot,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make_protocol = make_protocol
        self._counts = counts
        self._starting: asyncio.Task[None] | None = None  # of a connection that is not counted yet
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Accept no more; the socket stays open."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    def _listen(self) -> None:
        self._loop.add_reader(self._listener, self._accept_or_leave)

    def _accept_or_leave(self) -> None:
        if self._starting is not None:
            return  # the loop asks again, and has counted it by then
        if self._counts.is_more_than_another():
            self._wait(LEAVE_SECONDS)
        else:
            self._accept()

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._accept_one_and_listen)

    def _accept_one_and_listen(self) -> None:
        self._pause = None
        if self._starting is not None or self._accept():
            self._listen()

    def _accept(self) -> bool:
        """Accept one connection, if there is one; False after an error that needs a pause."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another one has it
            return True
        except OSError as error:
            context = {"message": "A connection cannot be accepted.", "exception": error}
            self._loop.call_exception_handler(context)
            self._wait(RETRY_SECONDS)
            return False
        connection.setblocking(False)  # noqa: FBT003 - socket's API
        self._starting = self._loop.create_task(self._start(connection))
        return True

    async def _start(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        finally:
            self._starting = None
