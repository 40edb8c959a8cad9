"""The connection between a catalog and its server, to be stalled and cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class PausableProxy:
    """Forwards bytes both ways until it is told otherwise."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._fatal = b""
        self._is_unheard = False
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PausableProxy]:
        """Listen, until the end of the block."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        parts = urlsplit(self._server_url)
        user = parts.netloc.rpartition("@")[0]
        self.url = urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}"))
        try:
            yield self
        finally:
            self._flowing.set()
            self.cut()
            server.close()
            await server.wait_closed()

    def stop(self) -> None:
        """Forward nothing any more, without closing."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Forward what was stalled."""
        self._flowing.set()

    def cut(self) -> None:
        """Close every connection."""
        for end in self._ends:
            end.transport.abort()

    def cut_after(self, sent: bytes) -> None:
        """Close when the client has sent this and the server has answered, without forwarding the
        answer.
        """
        self._fatal = sent

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self._server_url)
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        self._ends |= {writer, back}
        try:
            await asyncio.gather(self._carry(reader, back), self._bring_back(there, writer))
        finally:
            self._ends -= {writer, back}
            writer.transport.abort()
            back.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while sent := await reader.read(65536):
                await self._flowing.wait()
                self._is_unheard = bool(self._fatal) and self._fatal in sent
                back.write(sent)
                await back.drain()
        back.transport.abort()

    async def _bring_back(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while said := await there.read(65536):
                await self._flowing.wait()
                if self._is_unheard:
                    self._fatal = b""
                    break
                writer.write(said)
                await writer.drain()
        writer.transport.abort()
