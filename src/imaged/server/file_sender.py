"""Sends a part of an answer's body from the kernel's memory, around the transport of the loop.

An application may offer this for a body of a known length, if the scope of its request has the
extension ``SEND_TO``: it sends a message of this type with ``count``, the number of bytes, and
``send_to``. That is awaited with a descriptor of the connection's socket, which does not block, and
the number of bytes that are left; it returns how many it sent, 0 if the client does not read, and
raises ConnectionError if the client is gone. It must have its own copy of the descriptor where it
uses it beyond the call.

No write of the loop may come in between, so what the transport has buffered is sent first. A client
that does not read holds no thread: the loop waits for its socket.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import closing

from starlette.types import Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from imaged.server.transport import LingeringTransport

SEND_TO = "imaged.response.send_to"

SendTo = Callable[[int, int], Awaitable[int]]


class FileSender:
    """Sends the message of one request."""

    def __init__(
        self, cycle: RequestResponseCycle, transport: LingeringTransport, flow: FlowControl
    ) -> None:
        self._cycle = cycle
        self._transport = transport
        self._flow = flow

    async def send(self, message: Message) -> None:
        """Send all bytes, unless the client is gone. Raises the errors of ``send_to``."""
        send_to: SendTo = message["send_to"]
        left: int = message["count"]
        if left > self._cycle.expected_content_length:
            raise RuntimeError("the answer is longer than its Content-Length")
        await self._flush()
        if self._is_over:
            return
        with closing(_OwnDescriptor(self._transport)) as own:
            while left and not self._is_over:
                try:
                    sent = await send_to(own.number, left)
                except ConnectionError:
                    self._note_client_is_gone()
                    return
                left -= sent
                self._transport.count_sent(sent)
                self._cycle.expected_content_length -= sent
                if not sent:
                    with self._transport.holding(left):
                        await own.writable()

    @property
    def _is_over(self) -> bool:
        return self._cycle.disconnected or self._transport.is_closing()

    def _note_client_is_gone(self) -> None:
        self._transport.abort()
        self._cycle.disconnected = True
        self._cycle.message_event.set()

    async def _flush(self) -> None:
        """Wait until nothing is buffered in this process."""
        self._transport.set_write_buffer_limits(0)
        try:
            while self._transport.buffered_bytes and not self._is_over:
                await self._flow.drain()
        finally:
            self._transport.set_write_buffer_limits()


class _OwnDescriptor:
    """A second descriptor of the socket: the loop does not watch those of its transports."""

    def __init__(self, transport: LingeringTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self.number = os.dup(transport.get_extra_info("socket").fileno())

    async def writable(self) -> None:
        """Wait until the client has read."""
        ready = asyncio.Event()
        self._loop.add_writer(self.number, ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_writer(self.number)

    def close(self) -> None:
        """Close it."""
        os.close(self.number)


def offers(scope: Scope) -> bool:
    """Whether bytes may go around the transport: not where it encrypts them."""
    return bool(scope["scheme"] == "http")
