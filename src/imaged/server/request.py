"""One request of a connection: whether it is clear, how much has been read, and how it is served.

A request that two HTTP parsers could read differently is rejected (request smuggling). llhttp
itself rejects: Content-Length beside Transfer-Encoding, repeated, or not only digits; bare CR and
LF, folded lines, control characters, spaces before a colon; chunk sizes that are not numbers.
``framing_error`` rejects the rest; section numbers there are those of RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sized
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from imaged.server.connections import ServerHooks
from imaged.server.file_sender import SEND_TO, FileSender, offers
from imaged.server.raw_responses import SHUTDOWN_RESPONSE_SECONDS
from imaged.server.transport import LingeringTransport

HTTP_VERSIONS = frozenset({"1.0", "1.1"})
CHUNK_FRAME_BYTES = 32  # allowance per chunk beside its data: size, line ends, a short extension

Header = tuple[bytes, bytes]


class ReadState(Enum):
    """The part of a request that the connection waits for."""

    HEADER = auto()  # also before the first byte of the first request
    BODY = auto()
    NOTHING = auto()  # the request is complete, and the next one has not begun


class BadRequest(Exception):
    """Ends the reading of a request that is malformed or too large."""


def framing_error(
    method: bytes, target: bytes, version: str, headers: Iterable[Header]
) -> str | None:
    """Return why a request is ambiguous, or None. Header names are lower-case."""
    if version not in HTTP_VERSIONS:
        return "The HTTP version must be 1.0 or 1.1."
    if method == b"CONNECT":  # RFC 9110, section 9.3.6: for proxies
        return "This server is not a proxy."
    return _target_error(method, target) or _header_error(version, list(headers))


def without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[Header]) -> bytes:
    """Serialize the request's header again, without its Upgrade field."""
    lines = [b"%s %s HTTP/%s" % (method, target, version.encode())]
    lines += [b"%s: %s" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


def _target_error(method: bytes, target: bytes) -> str | None:
    if b"#" in target or b"\\" in target:  # 3.2: neither is allowed
        return "The request target contains a forbidden character."
    is_path = target.startswith(b"/")
    is_whole = target.lower().startswith((b"http://", b"https://"))  # 3.2.2
    if not (is_path or is_whole or (method == b"OPTIONS" and target == b"*")):
        return "The request target must be a path."
    return None


def _header_error(version: str, headers: list[Header]) -> str | None:
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and not hosts):  # 3.2
        return "The request must have exactly one Host header."
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and (version == "1.0" or encodings != [b"chunked"]):  # 6.1
        return "Transfer-Encoding must be chunked, once, and requires HTTP/1.1."
    return None


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


class BodyPieces(bytearray):
    """The received pieces of a body that the application has not read yet, in place of the
    bytearray of uvicorn, which copies every byte twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def __iadd__(self, piece: bytes) -> Self:  # type: ignore[misc,override]  # only bytes are added
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        return self

    def __len__(self) -> int:
        return self._size_bytes

    def __bytes__(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


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
        files = FileSender(cycle, self.transport, cycle.flow)

        async def send_any(message: Message) -> None:
            await (files.send(message) if message["type"] == SEND_TO else send(message))

        if offers(scope):
            scope["extensions"] = {SEND_TO: {}}
        try:
            await self.app(scope, receive_in_time, send_any)
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
