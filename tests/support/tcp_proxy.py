"""TCP proxies on a free port of the loopback: lines to a server that break, crawl or stall."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

PIECE_BYTES = 16 * 1024
RESET = b"\x01\0\0\0\0\0\0\0"  # SO_LINGER: on, for no time

#: Told a piece of what is sent one way; what is passed on instead. Raises LineBreak.
Pass = Callable[[bytes], Awaitable[bytes]]


class LineBreak(Exception):
    """The line breaks, after these bytes."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


class TcpProxy:
    """Passes on everything, both ways; what is derived from it does not."""

    def __init__(self, server_port: int, host: str = "127.0.0.1") -> None:
        self._server = host, server_port
        self._lines: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients of HTTP find it, while it runs."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen as long as the block lasts."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._lines, return_exceptions=True)

    def cut(self) -> None:
        """Break every line."""
        for line in self._lines:
            line.cancel()

    def ways(self) -> tuple[Pass, Pass]:
        """How a new line passes on what the client sends, and what the server answers."""
        return as_it_is, as_it_is

    async def begin(
        self,
        reader: asyncio.StreamReader,  # noqa: ARG002 - a look at what comes first
        back: asyncio.StreamWriter,  # noqa: ARG002
    ) -> tuple[Pass, Pass]:
        """The same, when the client may have sent something."""
        return self.ways()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.create_task(self._serve(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on until one side ends or the line breaks, which both sides see at once."""
        there, back = await asyncio.open_connection(*self._server)
        is_whole = False
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                up, down = await self.begin(reader, back)
                pumps = [
                    asyncio.create_task(_pump(reader, back, up)),
                    asyncio.create_task(_pump(there, writer, down)),
                ]
                try:
                    done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
                is_whole = all(pump.exception() is None for pump in done)
        finally:
            for end in (back, writer):
                end.close() if is_whole else reset(end)


async def as_it_is(piece: bytes) -> bytes:
    """Pass on all."""
    return piece


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Pass) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(await way(piece))
            await writer.drain()
    except LineBreak as broken:
        writer.write(broken.last)
        await writer.drain()
        raise


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side gets a reset."""
    opened: socket.socket | None = writer.get_extra_info("socket")
    with suppress(OSError):
        if opened is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class HttpProxy(TcpProxy):
    """Breaks uploads and downloads of images where a test says, and may change a byte of them.

    Bytes are counted from the beginning of each request or answer, with its head.
    """

    def __init__(
        self,
        server_port: int,
        *,
        up_bytes: list[int | None] | None = None,
        down_bytes: list[int | None] | None = None,
        lost_answers: int = 0,
        flips_up_at: int | None = None,
    ) -> None:
        super().__init__(server_port)
        self.up_bytes = up_bytes or []  # of each upload; None: all of them
        self.down_bytes = down_bytes or []  # of each download
        self.lost_answers = lost_answers  # so many answers to uploads never come
        self.flips_up_at = flips_up_at  # the byte of a connection to the server that is changed
        self.heads: list[bytes] = []  # of every request

    async def begin(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter
    ) -> tuple[Pass, Pass]:
        """Each request has a connection of its own: what is broken is known then."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        back.write(head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n")
        first = head.split(b"\r\n")[0]
        is_up, is_down = first.startswith(b"PUT "), first.startswith(b"GET ") and b"/file" in first
        up = self.up_bytes.pop(0) if is_up and self.up_bytes else None
        down = self.down_bytes.pop(0) if is_down and self.down_bytes else None
        if is_up and self.lost_answers:
            self.lost_answers, down = self.lost_answers - 1, 0
        return _damaged(up, self.flips_up_at if is_up else None), _damaged(down)


def _damaged(limit_bytes: int | None, flips_at: int | None = None) -> Pass:
    """A way that breaks after so many bytes, and changes one of them."""
    passed_bytes = 0

    async def way(piece: bytes) -> bytes:
        nonlocal passed_bytes
        if flips_at is not None and passed_bytes <= flips_at < passed_bytes + len(piece):
            at = flips_at - passed_bytes
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
        if limit_bytes is not None and passed_bytes + len(piece) > limit_bytes:
            raise LineBreak(piece[: limit_bytes - passed_bytes])
        passed_bytes += len(piece)
        return piece

    return way


class TruncatingProxy(TcpProxy):
    """Tears lines after so many bytes of an answer, so many times."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.tears: list[int] = []  # bytes, of the next answers that have so many
        self.torn = 0

    def ways(self) -> tuple[Pass, Pass]:
        """Answers alone are torn."""
        passed_bytes = 0

        async def down(piece: bytes) -> bytes:
            nonlocal passed_bytes
            passed_bytes += len(piece)
            if self.tears and passed_bytes > self.tears[0]:
                self.tears.pop(0)
                self.torn += 1
                raise LineBreak
            return piece

        return as_it_is, down


class ThrottledProxy(TcpProxy):
    """Carries only so many bytes in a second, whatever is sent over all its lines."""

    def __init__(self, server_port: int, bytes_per_second: float) -> None:
        super().__init__(server_port)
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0  # when what was sent so far has been carried

    def ways(self) -> tuple[Pass, Pass]:
        """The same limit for both."""
        return self._way, self._way

    async def _way(self, piece: bytes) -> bytes:
        now = asyncio.get_running_loop().time
        self._free_at = max(self._free_at, now()) + len(piece) / self._bytes_per_second
        await asyncio.sleep(self._free_at - now())
        return piece


class PausableProxy(TcpProxy):
    """A line to a database that can be stalled, and cut when a statement was answered."""

    def __init__(self, server_url: str) -> None:
        self._parts = urlsplit(server_url)
        assert self._parts.port is not None
        super().__init__(self._parts.port, str(self._parts.hostname))
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._fatal = b""
        self._is_unheard = False

    @property
    def url(self) -> str:
        """The URL of the database, while it runs."""
        user = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    def stop(self) -> None:
        """Pass on nothing any more, without closing."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Pass on what was stalled."""
        self._flowing.set()

    def cut_after(self, sent: bytes) -> None:
        """Break when the client has sent this and the server has answered, without the answer."""
        self._fatal = sent

    def ways(self) -> tuple[Pass, Pass]:
        """Both stall."""
        return self._up, self._down

    async def _up(self, piece: bytes) -> bytes:
        await self._flowing.wait()
        self._is_unheard = bool(self._fatal) and self._fatal in piece
        return piece

    async def _down(self, piece: bytes) -> bytes:
        await self._flowing.wait()
        if self._is_unheard:
            self._fatal = b""
            raise LineBreak
        return piece
