"""The database goes and comes back, again and again, while many clients work."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
from asyncio import to_thread
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest

from support.backdoor import bytes_are_those_of, require_settled
from support.backend import ServersBackend
from support.client import Client
from support.daemon import Daemon
from support.postgresql import Server, fresh_database
from support.seaweedfs import SeaweedFS
from support.waiting import until

RESTARTS = int(os.environ.get("IMAGED_TEST_RESTARTS", "2"))
CLIENTS = 16
OUR_FAULT = 500

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(20 * RESTARTS + 120)]


@dataclass
class Journal:
    """What clients were told, and when the database was away."""

    outages: list[tuple[float, float]] = field(default_factory=list)
    failures: list[tuple[float, float, str]] = field(default_factory=list)  # from, to, request
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: dict[str, str] = field(default_factory=dict)  # image id → sha512 of what was sent
    stored: set[str] = field(default_factory=set)  # what got a 204
    deleted: set[str] = field(default_factory=set)  # what got a 204, or no answer that counts

    def unexplained(self) -> list[str]:
        """Failures of requests that the database was there for, from begin to end."""
        return [
            request
            for begin, end, request in self.failures
            if not any(begin < back and gone < end for gone, back in self.outages)
        ]


class Person:
    """A client that expects an answer to everything, and knows which is right."""

    def __init__(self, client: Client, journal: Journal, seed: int) -> None:
        self._client = client
        self._journal = journal
        self._random = random.Random(seed)
        self._goes_on = True

    def end(self) -> None:
        """Finish the image at hand, and end: no request is left behind."""
        self._goes_on = False

    async def run(self) -> None:
        """Go on until told to end."""
        while self._goes_on:
            await self._live_one_image()

    async def _live_one_image(self) -> None:
        image_id, data = str(uuid4()), self._random.randbytes(self._random.choice([1, 90_000]))
        digest, path = hashlib.sha512(data).hexdigest(), f"/v2/images/{image_id}"
        formats = {"id": image_id, "disk_format": "raw", "container_format": "bare"}
        if await self._ask("POST", "/v2/images", 201, json=formats) is None:
            return
        self._journal.sent[image_id] = digest
        headers = {"Content-Type": "application/octet-stream"}
        if await self._ask("PUT", f"{path}/file", 204, data=data, headers=headers) is None:
            return
        self._journal.stored.add(image_id)
        if (shown := await self._ask("GET", path, 200)) is not None:
            assert digest.encode() in shown
        if (found := await self._ask("GET", f"{path}/file", 200)) is not None:
            assert found == data
        await self._ask("GET", "/v2/images?limit=5", 200)
        if self._random.random() < 0.8:
            self._journal.deleted.add(image_id)
            if await self._ask("DELETE", path, 204) is not None:
                await self._ask("GET", path, 404)

    async def _ask(self, method: str, path: str, right: int, **options: object) -> bytes | None:
        """The body of the right answer; None where the server was at fault."""
        begin = monotonic()
        status, body = await self._client.request(method, path, **options)
        self._journal.statuses[method, status] += 1
        if status >= OUR_FAULT:
            self._journal.failures.append((begin, monotonic(), f"{method} {path}: {body!r}"))
            await asyncio.sleep(0.05)
            return None
        assert status == right, f"{method} {path}: {status} {body!r}"
        return body


async def test_a_database_that_comes_and_goes_loses_nothing(
    server: Server, s3: SeaweedFS, tmp_path: Path
) -> None:
    """Restarts, some of them crashes: 5xx only while it is away, and recovery by itself."""
    chance, journal = random.Random(11), Journal()
    async with fresh_database(server.url) as url:
        backend = ServersBackend(url, s3.endpoint, uuid4().hex)
        daemons = [Daemon(tmp_path, name=f"daemon{number}", on=backend) for number in range(2)]
        try:
            for daemon in daemons:
                await daemon.start()
            async with Client(daemons[0].url) as here, Client(daemons[1].url) as there:
                async with asyncio.TaskGroup() as tasks:
                    people = [
                        Person(client, journal, seed)
                        for seed, client in enumerate([here, there] * (CLIENTS // 2))
                    ]
                    for person in people:
                        tasks.create_task(person.run())
                    for number in range(RESTARTS):
                        await until(partial(stored, journal, number * 4 + 1), "nothing is stored")
                        await asyncio.sleep(chance.uniform(0, 1.2))
                        how = (signal.SIGINT, signal.SIGQUIT)[number % 2]
                        await restart(server, how, daemons, journal, chance)
                    await asyncio.sleep(1)
                    for person in people:
                        person.end()
                await check(daemons[0], here, journal)
        finally:
            for daemon in daemons:
                await daemon.end()


async def stored(journal: Journal, count: int) -> bool:
    """Whether so many uploads have succeeded."""
    return journal.statuses["PUT", 204] >= count


async def restart(
    server: Server,
    how: signal.Signals,
    daemons: list[Daemon],
    journal: Journal,
    chance: random.Random,
) -> None:
    """Take the database away and bring it back; it is back when all daemons say so."""
    gone = monotonic()
    await to_thread(server.stop, how)
    await asyncio.sleep(chance.uniform(0, 1.5))
    await to_thread(server.start)
    for daemon in daemons:
        await daemon.wait_ready()
    journal.outages.append((gone, monotonic()))


async def check(daemon: Daemon, client: Client, journal: Journal) -> None:
    """Everything that was promised."""
    images = await require_settled(client)
    active = {image_id for image_id, image in images.items() if image["status"] == "active"}
    assert journal.stored - journal.deleted <= active
    for image_id in active:
        assert await client.digest(image_id) == journal.sent[image_id]
    assert not journal.unexplained()
    assert journal.failures  # the database really was away

    async def agree() -> bool:
        return await bytes_are_those_of(daemon, active)

    await until(agree, "store, ledger and images do not agree")
