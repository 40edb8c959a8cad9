"""Clients of real daemons that work all the time, whatever becomes of the daemons."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp

from imaged.core.limits import MIB
from support.client import Client
from support.daemon import Daemon
from support.waiting import until


class Traffic:
    """Clients that upload and delete, and remember what they were told."""

    def __init__(self, daemons: list[Daemon], seed: int) -> None:
        self.daemons = daemons
        self.random = random.Random(seed)
        self.acknowledged: dict[str, str] = {}  # image id → sha512 of what got a 204
        self.deleted: set[str] = set()  # asked for, whatever the answer
        self.sent: dict[str, set[str]] = {}  # image id → sha512 of all that was ever sent
        self._goes_on = True

    async def run(self) -> None:
        """Go on until told to end."""
        async with asyncio.TaskGroup() as tasks:
            for daemon in self.daemons:
                tasks.create_task(self._use(daemon, clients=4 // len(self.daemons)))

    def end(self) -> None:
        """Let each client get the answers that it waits for, and end: no request is left behind."""
        self._goes_on = False

    async def grows_by(self, more: int) -> None:
        """Wait until so many more images were acknowledged."""
        goal = len(self.acknowledged) + more

        async def is_reached() -> bool:
            return len(self.acknowledged) >= goal

        await until(is_reached, "nothing was uploaded")

    async def _use(self, daemon: Daemon, clients: int) -> None:
        async with Client(daemon.url) as client, asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(self._one(client))

    async def _one(self, client: Client) -> None:
        while self._goes_on:
            with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
                await self._upload(client)
                await self._delete_some(client)
                continue
            await asyncio.sleep(0.02)  # it was killed, and is started again

    async def _upload(self, client: Client) -> None:
        data = self.random.randbytes(self.random.choice([0, 1, 70_000, 3 * MIB, 12 * MIB]))
        digest = hashlib.sha512(data).hexdigest()
        image_id = await client.create()
        self.sent.setdefault(image_id, set()).add(digest)
        body = data if self.random.random() < 0.5 else self._slowly(data)
        if await client.put(image_id, body) == 204:
            self.acknowledged[image_id] = digest

    async def _slowly(self, data: bytes) -> AsyncIterator[bytes]:
        for offset in range(0, len(data), 256 * 1024):
            await asyncio.sleep(self.random.uniform(0, 0.01))
            yield data[offset : offset + 256 * 1024]

    async def _delete_some(self, client: Client) -> None:
        standing = sorted(self.acknowledged.keys() - self.deleted)
        if len(standing) > 5:
            image_id = self.random.choice(standing)
            self.deleted.add(image_id)
            await client.delete(image_id)
