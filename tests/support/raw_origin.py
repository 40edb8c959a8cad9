"""A web server that answers with the very bytes that a test gives, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

#: Makes the whole answer from the request target and the headers, with lower-case names.
Answer = Callable[[str, Mapping[str, str]], bytes]


@dataclass
class RawOrigin:
    """Closes each connection after its answer."""

    answer: Answer
    host: str = "127.0.0.2"
    port: int = 0
    targets: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    def url(self, target: str) -> str:
        """The URL of a target, which is not changed."""
        return f"http://{self.host}:{self.port}{target}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RawOrigin]:
        """Serve on a free port."""
        server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").strip().split("\r\n")
        pairs = (line.partition(":") for line in rest)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        target = first.split(" ")[1]
        self.targets.append(target)
        self.headers.append(headers)
        writer.write(self.answer(target, headers))
        await writer.drain()
        writer.close()


def reply(status: str | bytes, body: bytes = b"", *headers: str | bytes) -> bytes:
    """An answer; with a Content-Length unless a header says how long the body is."""
    lines = [b"HTTP/1.1 " + _encoded(status), *map(_encoded, headers)]
    lengths = (b"content-length", b"transfer-encoding")
    if not any(line.lower().startswith(lengths) for line in lines):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
