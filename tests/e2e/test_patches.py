"""Simultaneous changes of records through two daemons: none is lost, and one of a state is made."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from support.daemon import Daemon
from support.postgresql import fresh_database

IMAGES = 8
KEYS = 125  # of each image: below the most that it may have, 128
CLIENTS = 20
STATES = 5
MEDIA_TYPE = "application/openstack-images-v2.1-json-patch"

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def daemons(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[list[aiohttp.ClientSession]]:
    """Sessions with two daemons on one catalog."""
    async with AsyncExitStack() as stack:
        settings: dict[str, dict[str, object]] = {}
        if request.param == "postgresql":
            settings["catalog"] = {"url": await stack.enter_async_context(fresh_database())}
        sessions = []
        for number in range(2):
            daemon = Daemon(tmp_path, settings, name=f"daemon{number}")
            await daemon.start()
            stack.push_async_callback(daemon.end, signal.SIGKILL)
            connector = aiohttp.TCPConnector(limit=0)
            session = aiohttp.ClientSession(daemon.url, connector=connector)
            sessions.append(await stack.enter_async_context(session))
        yield sessions


async def create(session: aiohttp.ClientSession) -> str:
    """A record; its path."""
    async with session.post("/v2/images", json={"count": "0"}) as answer:
        return f"/v2/images/{(await answer.json())['id']}"


async def patch(
    session: aiohttp.ClientSession, path: str, name: str, value: str, etag: str | None = None
) -> int:
    """Set a property, perhaps of one state only; the status."""
    headers = {"Content-Type": MEDIA_TYPE} | ({} if etag is None else {"If-Match": etag})
    steps = json.dumps([{"op": "add", "path": f"/{name}", "value": value}])
    async with session.patch(path, data=steps, headers=headers) as answer:
        return answer.status


async def test_no_change_is_lost(daemons: list[aiohttp.ClientSession]) -> None:
    """A thousand changes of different properties of eight images are all there; of the changes of
    one state exactly one is made.
    """
    paths = [await create(daemons[0]) for _ in range(IMAGES)]
    await change_all_properties(daemons, paths)
    for path in paths:
        async with daemons[1].get(path) as answer:
            shown = await answer.json()
        assert {shown.get(f"key{number}") for number in range(KEYS)} == {"changed"}
    await change_states(daemons, paths[0])


async def change_all_properties(daemons: list[aiohttp.ClientSession], paths: list[str]) -> None:
    """Through both daemons, all at once."""
    both = cycle(daemons)
    changes = [
        patch(next(both), path, f"key{number}", "changed")
        for number in range(KEYS)
        for path in paths
    ]
    assert Counter(await asyncio.gather(*changes)) == {200: IMAGES * KEYS}


async def change_states(daemons: list[aiohttp.ClientSession], path: str) -> None:
    """Every client has seen the same state, and changes the same property with its ETag."""
    for state in range(STATES):
        async with daemons[state % 2].get(path) as answer:
            etag = answer.headers["ETag"]
            assert (await answer.json())["count"].startswith(str(state))
        both = cycle(daemons)
        statuses = await asyncio.gather(
            *(
                patch(next(both), path, "count", f"{state + 1} by {client}", etag)
                for client in range(CLIENTS)
            )
        )
        assert Counter(statuses) == {200: 1, 412: CLIENTS - 1}
