"""Clients that hold on: idle ones, headers that trickle, bodies of a byte now and then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CONNECT_AT_ONCE = 50


@dataclass
class HostileClients:
    """Counts how its clients ended: by kind, and by the first line of the answer, if any."""

    port: int
    pause_seconds: float = 0.25
    here: Counter[str] = field(default_factory=Counter)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECT_AT_ONCE))

    async def idle(self) -> None:
        """Ask once, and then say nothing more; every other one says nothing at all."""
        asks = self.here["idle"] % 2 == 0
        async with self._connected("idle", answers=int(asks)) as (_, writer):
            if asks:
                writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")

    async def trickle(self) -> None:
        """Send a header that never ends."""
        async with self._connected("trickle") as (_, writer):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ")
            await self._drip(writer)

    async def dawdle(self, image_id: str) -> None:
        """Upload a byte now and then."""
        async with self._connected("dawdle") as (_, writer):
            head = f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: a\r\n"
            head += "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n"
            writer.write(head.encode())
            await self._drip(writer)

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(self.pause_seconds)

    @asynccontextmanager
    async def _connected(
        self, kind: str, answers: int = 0
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect; the block is left when the server ends the connection."""
        async with self._gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.here[kind] += 1
        waiting = asyncio.create_task(_read_all(reader))
        waiting.add_done_callback(lambda _: writer.close())
        try:
            yield reader, writer
        finally:
            lines = [line for line in (await waiting).split(b"\r\n") if line.startswith(b"HTTP/")]
            self.ended[kind, b"".join(lines[answers:]).decode()] += 1


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    received = bytearray()
    with suppress(ConnectionError):
        while data := await reader.read(4096):
            received += data
    return bytes(received)


async def run_hostile_clients(
    swarm: HostileClients, idle: int, trickle: int, image_ids: Iterable[str]
) -> None:
    """Send all of them, and return when the last one was ended."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(idle):
            tasks.create_task(swarm.idle())
        for _ in range(trickle):
            tasks.create_task(swarm.trickle())
        for image_id in image_ids:
            tasks.create_task(swarm.dawdle(image_id))
