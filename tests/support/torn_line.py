"""A line to a server that is torn, so many times, after so many bytes of an answer; or is slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

PIECE_BYTES = 16 * 1024


@dataclass
class TruncatingProxy:
    """Listens on a free port of the loopback, and passes on what it hears."""

    server_port: int
    tears: list[int] = field(default_factory=list)  # bytes, of the next answers that have so many
    pause_seconds: float = 0  # after each piece of an answer
    port: int = 0
    torn: int = 0
    _lines: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[TruncatingProxy]:
        """Serve as long as the block lasts."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for line in self._lines:
                line.cancel()
            await asyncio.gather(*self._lines, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.create_task(self._connect(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.server_port)
        asking = asyncio.create_task(_carry(reader, back))
        try:
            with suppress(ConnectionError):
                await self._answer(there, writer)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            for end in (back, writer):
                end.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed_bytes = 0
        while piece := await reader.read(PIECE_BYTES):
            passed_bytes += len(piece)
            if self.tears and passed_bytes > self.tears[0]:
                self.tears.pop(0)
                self.torn += 1
                writer.transport.abort()
                return
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(self.pause_seconds)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
