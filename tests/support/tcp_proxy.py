"""A line to a server that breaks where a test says, and may change a byte on its way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

PIECE_BYTES = 16 * 1024
RESET = b"\x01\0\0\0\0\0\0\0"  # SO_LINGER: on, for no time


@dataclass
class TcpProxy:
    """Listens on a free port of the loopback. Bytes are counted from the beginning of each
    connection, with the heads of requests and answers.
    """

    port: int
    up_bytes: list[int | None] = field(default_factory=list)  # of each upload; None: all of them
    down_bytes: list[int | None] = field(default_factory=list)  # of each download
    lost_answers: int = 0  # so many answers to uploads never come
    flips_up_at: int | None = None  # the byte of a connection to the server that is changed
    flips_down_at: int | None = None
    heads: list[bytes] = field(default_factory=list)  # of every request
    _lines: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve as long as the block lasts; the URL to use instead."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for line in self._lines:
                line.cancel()
            await asyncio.gather(*self._lines, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.create_task(self._serve(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each request has a connection of its own: what is broken is known then."""
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        is_whole = False
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                back.write(head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n")
                is_whole = await self._relay(head, reader, writer, there, back)
        finally:
            for end in (back, writer):
                end.close() if is_whole else _reset(end)

    async def _relay(
        self,
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> bool:
        """Carry both ways until one of them ends; whether nothing was broken."""
        first = head.split(b"\r\n")[0]
        self.heads.append(head)
        is_up, is_down = first.startswith(b"PUT "), first.startswith(b"GET ") and b"/file" in first
        up = self.up_bytes.pop(0) if is_up and self.up_bytes else None
        down = self.down_bytes.pop(0) if is_down and self.down_bytes else None
        if is_up and self.lost_answers:
            self.lost_answers, down = self.lost_answers - 1, 0
        ways = [
            asyncio.create_task(_carry(reader, back, up, self.flips_up_at if is_up else None)),
            asyncio.create_task(
                _carry(there, writer, down, self.flips_down_at if is_down else None)
            ),
        ]
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        return all(way.exception() is None and way.result() for way in done)


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    limit_bytes: int | None,
    flips_at: int | None,
) -> bool:
    """Whether it went on to the end."""
    carried = 0
    while piece := await reader.read(PIECE_BYTES):
        if flips_at is not None and carried <= flips_at < carried + len(piece):
            at = flips_at - carried
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
        if limit_bytes is not None and carried + len(piece) > limit_bytes:
            writer.write(piece[: limit_bytes - carried])
            await writer.drain()
            return False
        carried += len(piece)
        writer.write(piece)
        await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break it, for both sides to see at once."""
    opened: socket.socket | None = writer.get_extra_info("socket")
    with suppress(OSError):
        if opened is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
