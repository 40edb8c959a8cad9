"""One request of a connection: how much of it has been read, and how the application serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sized
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from imaged.server.connections import ServerHooks
from imaged.server.raw_responses import SHUTDOWN_RESPONSE_SECONDS
from imaged.server.transport import LingeringTransport

CHUNK_FRAME_BYTES = 32  # allowance per chunk beside its data: size, line ends, a short extension


class ReadState(Enum):
    """The part of a request that the connection waits for."""

    HEADER = auto()  # also before the first byte of the first request
    BODY = auto()
    NOTHING = auto()  # the request is complete, and the next one has not begun


class BadRequest(Exception):
    """Ends the reading of a request that is malformed or too large."""


class RequestSize:
    """Counts the bytes of one request, to bound what the parser keeps in memory."""

    __slots__ = ("body_bytes", "frame_bytes", "header_bytes", "unparsed_bytes")

    def __init__(self) -> None:
        self.restart_header()
        self.restart_body()

    def restart_header(self) -> None:
        """Count the next header from zero."""
        self.header_bytes = 0  # that the parser has handed over
        self.unparsed_bytes = 0  # that the parser still holds

    def restart_body(self) -> None:
        """Count the next body from zero."""
        self.body_bytes = 0
        self.frame_bytes = 0  # of chunks, beyond their data and CHUNK_FRAME_BYTES for each

    def add_input(self, state: ReadState, size_bytes: int) -> None:
        """Count bytes fed to the parser that completed nothing."""
        if state is ReadState.HEADER:
            self.unparsed_bytes += size_bytes
        elif state is ReadState.BODY:
            self.frame_bytes += size_bytes

    def add_chunk_header(self) -> None:
        """Grant the allowance of one more chunk."""
        self.frame_bytes -= CHUNK_FRAME_BYTES

    def add_body(self, size_bytes: int) -> None:
        """Count data of the body."""
        self.body_bytes += size_bytes
        self.frame_bytes -= size_bytes

    def header_exceeds(self, limit_bytes: int) -> bool:
        """Whether the header, or a line of it that does not end, is larger than the limit."""
        return max(self.header_bytes, self.unparsed_bytes) > limit_bytes

    def frames_exceed(self, limit_bytes: int) -> bool:
        """Whether chunk extensions and trailers take more bytes than the limit."""
        return self.frame_bytes > limit_bytes


class PipelineFlowControl(FlowControl):
    """Pauses reading while pipelined requests wait. uvicorn resumes reading after each answer, so a
    client that sends faster than it is answered would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Resume unless requests wait for an earlier answer."""
        if not len(self._waiting):
            super().resume_reading()


@dataclass(slots=True, eq=False)
class ServedRequest:
    """ASGI middleware around one request. ``is_slow``: whether its body arrives too slowly."""

    app: ASGIApp
    cycle: RequestResponseCycle
    transport: LingeringTransport
    is_slow: Callable[[], bool]
    hooks: ServerHooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. An aborted request does not count as an error of the application."""

        async def receive_in_time() -> Message:
            message = await receive()
            if self.is_slow() and self.cycle.more_body:
                raise self.hooks.body_too_slow()
            return message

        cycle = self.cycle
        try:
            await self.app(scope, receive_in_time, send)
        except asyncio.CancelledError:  # the server is shutting down
            if not cycle.response_started:
                await self._send_shutdown_response(scope, receive, send)
        if cycle.response_started and not cycle.response_complete and not cycle.disconnected:
            cycle.disconnected = True
            self.transport.close()

    async def _send_shutdown_response(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application; abort the connection if the client does not read in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_RESPONSE_SECONDS):
                await self.hooks.shutdown_response(scope)(scope, receive, send)
        if not self.cycle.response_complete and not self.cycle.disconnected:
            self.cycle.disconnected = True
            self.transport.abort()
