"""Clients that race for what a project may have, at one daemon and at two on one database."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from imaged.core.quota import UNIFIED_LIMIT_NAMES
from support.client import OCTETS, Client
from support.daemon import Daemon
from support.postgresql import fresh_database
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

CLIENTS = 64
ROOM = 10
STEPS = 4
DATA = os.urandom(STEPS * MIB)
RAW = {"disk_format": "raw", "container_format": "bare"}
NOTHING = dict.fromkeys(UNIFIED_LIMIT_NAMES.values(), 0)

Limit = Callable[[str], dict[str, object]]


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def clients(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[Client]]:
    """One of each daemon: one on SQLite, two on PostgreSQL. A deleted image frees its room."""
    async with AsyncExitStack() as stack:
        settings: dict[str, dict[str, object]] = {
            "claims": {"lease": "60s", "renew_every": "10s"},  # all wait for one account
            "uploads": {"wait_for_space": "2m"},
            "quotas": {
                "total": f"{ROOM * len(DATA)}B",
                "staged": f"{ROOM * len(DATA)}B",
                "images": CLIENTS,
            },
        }
        names = ["imaged"]
        if request.param == "postgresql":
            settings["catalog"] = {"url": await stack.enter_async_context(fresh_database())}
            names = ["one", "other"]
        found = []
        for name in names:
            daemon = Daemon(tmp_path, settings, name=name)
            await daemon.start()
            stack.push_async_callback(_end, daemon)
            found.append(await stack.enter_async_context(Client(daemon.url)))
        yield found


async def _end(daemon: Daemon) -> None:
    assert await daemon.end() == 0


async def usage(client: Client) -> dict[str, int]:
    """What the project uses."""
    status, body = await client.request("GET", "/v2/info/usage")
    assert status == 200
    return {name: numbers["usage"] for name, numbers in json.loads(body)["usage"].items()}


async def create_all(clients: Sequence[Client]) -> list[str]:
    """As many images as there may be; one more is refused, as often as it is tried."""

    async def create(client: Client) -> int:
        status, _ = await client.request("POST", "/v2/images", json=RAW)
        return status

    calls = [create(client) for client, _ in zip(cycle(clients), range(CLIENTS + ROOM))]
    assert Counter(await asyncio.gather(*calls)) == {201: CLIENTS, 413: ROOM}
    return [image["id"] for image in await clients[0].list_all()]


class InStep:
    """Bodies without a length, whose second piece is sent when all have sent the first one."""

    def __init__(self) -> None:
        self._begun = 0

    async def body(self) -> AsyncIterator[bytes]:
        """The data, in pieces."""
        yield DATA[:MIB]
        self._begun += 1
        await until(self._have_all_begun, "some never send", 100)
        for start in range(MIB, len(DATA), MIB):
            yield DATA[start : start + MIB]

    async def _have_all_begun(self) -> bool:
        return self._begun == CLIENTS


@pytest.mark.parametrize("way", ["file", "stage"])
@pytest.mark.parametrize("has_length", [True, False], ids=["length", "steps"])
async def test_clients_race_for_the_space_of_ten(
    clients: list[Client], way: str, *, has_length: bool
) -> None:
    """Of uploads and of staged data, with a length and without one, exactly as many succeed as
    have room, and the account is exact afterwards.
    """
    ids, pieces = await create_all(clients), InStep()

    async def put(client: Client, image_id: str) -> int:
        data = io.BytesIO(DATA) if has_length else pieces.body()
        path = f"/v2/images/{image_id}/{way}"
        status, _ = await client.request("PUT", path, data=data, headers=OCTETS)
        return status

    statuses = await asyncio.gather(*map(put, cycle(clients), ids))

    assert Counter(statuses) == {204: ROOM, 413: CLIENTS - ROOM}
    is_staged = way == "stage"
    assert await usage(clients[-1]) == {
        "image_size_total": ROOM * STEPS,
        "image_stage_total": ROOM * STEPS * is_staged,
        "image_count_total": CLIENTS,
        "image_count_uploading": ROOM * is_staged,
    }
    for image in await clients[0].list_all():
        assert image["status"] in {"queued", "uploading" if is_staged else "active"}
        await clients[-1].delete(image["id"])
    assert await usage(clients[0]) == NOTHING
