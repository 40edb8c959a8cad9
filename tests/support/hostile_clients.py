"""Clients that hold on: idle ones, headers that trickle, bodies of a byte now and then."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

CONNECT_AT_ONCE = 50
PAUSE_SECONDS = 0.25
ASKED = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
TRICKLING = b"GET /livez HTTP/1.1\r\nHost: a\r\nX: "
DAWDLING = (
    "PUT /v2/images/{}/file HTTP/1.1\r\nHost: a\r\n"
    "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n"
)


@dataclass
class HostileClients:
    """Counts how its clients ended: by kind, and by the first line of the answer, if any."""

    port: int
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECT_AT_ONCE))

    async def hold(self, kind: str, head: bytes, *, drips: bool, answers: int = 0) -> None:
        """Send this, and perhaps a byte now and then, until the server ends the connection."""
        async with self._gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head)
        waiting = asyncio.create_task(_read_all(reader))
        waiting.add_done_callback(lambda _: writer.close())
        while drips and not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(PAUSE_SECONDS)
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
    """Send all of them, and return when the last one was ended. Half of the idle ones ask once."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(idle):
            head, answers = (ASKED, 1) if number % 2 else (b"", 0)
            tasks.create_task(swarm.hold("idle", head, drips=False, answers=answers))
        for _ in range(trickle):
            tasks.create_task(swarm.hold("trickle", TRICKLING, drips=True))
        for image_id in image_ids:
            head = DAWDLING.format(image_id).encode()
            tasks.create_task(swarm.hold("dawdle", head, drips=True))
