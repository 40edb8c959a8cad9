"""A line to a server that carries only so many bytes in a second, whatever is sent over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PIECE_BYTES = 64 * 1024


@dataclass
class ThrottledProxy:
    """Listens on a free port of the loopback, and passes on what it hears."""

    endpoint: str
    bytes_per_second: float
    _free_at: float = 0.0  # when what was sent so far has been carried
    _lines: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve as long as the block lasts; the endpoint to use instead."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for line in self._lines:
                line.cancel()
            await asyncio.gather(*self._lines, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.create_task(self._connect(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = urlsplit(self.endpoint)
        there, back = await asyncio.open_connection(place.hostname, place.port)
        try:
            with suppress(ConnectionError):
                await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        finally:
            for end in (back, writer):
                end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        while piece := await reader.read(PIECE_BYTES):
            self._free_at = max(self._free_at, now()) + len(piece) / self.bytes_per_second
            await asyncio.sleep(self._free_at - now())
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
