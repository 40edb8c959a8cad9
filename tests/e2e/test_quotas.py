"""Two daemons on one database, and clients that race for what a project may have."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from imaged.core.quota import UNIFIED_LIMIT_NAMES
from support.client import Client
from support.daemon import Daemon
from support.postgresql import fresh_database

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

CLIENTS = 64
ROOM = 10
DATA = os.urandom(MIB // ROOM + 1)
RAW = {"disk_format": "raw", "container_format": "bare"}
NOTHING = dict.fromkeys(UNIFIED_LIMIT_NAMES.values(), 0)


@pytest_asyncio.fixture
async def clients(tmp_path: Path) -> AsyncIterator[Sequence[Client]]:
    """One of each daemon; a deleted image frees its room at once."""
    async with fresh_database() as url:
        settings: dict[str, dict[str, object]] = {
            "catalog": {"url": url},
            "claims": {"lease": "60s", "renew_every": "10s"},  # all wait for one account
            "quotas": {"total": f"{ROOM * len(DATA)}B", "images": CLIENTS},
        }
        daemons = [Daemon(tmp_path, settings, name=f"daemon{number}") for number in range(2)]
        try:
            for daemon in daemons:
                await daemon.start()
            async with Client(daemons[0].url) as one, Client(daemons[1].url) as other:
                yield (one, other)
        finally:
            for daemon in daemons:
                assert await daemon.end() == 0


async def usage(client: Client) -> dict[str, int]:
    """What the project uses."""
    status, body = await client.request("GET", "/v2/info/usage")
    assert status == 200
    return {name: numbers["usage"] for name, numbers in json.loads(body)["usage"].items()}


async def test_clients_race_for_the_space_of_ten(clients: Sequence[Client]) -> None:
    """Of images, of uploads with a length, and of those without one, exactly as many succeed as
    have room, and the account is exact afterwards.
    """

    async def create(number: int) -> int:
        status, _ = await clients[number % 2].request("POST", "/v2/images", json=RAW)
        return status

    created = Counter(await asyncio.gather(*[create(number) for number in range(CLIENTS + ROOM)]))
    assert created == {201: CLIENTS, 413: ROOM}

    for body in (lambda: DATA, in_pieces):
        ids = [image["id"] for image in await clients[0].list_all()]
        puts = [clients[at % 2].put(image_id, body()) for at, image_id in enumerate(ids)]
        statuses = await asyncio.gather(*puts)
        assert Counter(statuses) == {204: ROOM, 413: CLIENTS - ROOM}
        assert await usage(clients[1]) == {
            **NOTHING,
            "image_size_total": 1,
            "image_count_total": 64,
        }
        for image_id, status in zip(ids, statuses, strict=True):
            if status == 204:
                assert await clients[1].delete(image_id) == 204
                await clients[1].create()

    for image in await clients[0].list_all():
        await clients[1].delete(image["id"])
    assert await usage(clients[0]) == NOTHING


async def in_pieces() -> AsyncIterator[bytes]:
    """The same data, without a length."""
    for start in range(0, len(DATA), 1000):
        yield DATA[start : start + 1000]
