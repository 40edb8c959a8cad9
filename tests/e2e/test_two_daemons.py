"""Two daemons on one SQLite file and one folder, under load."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.backdoor import bytes_are_those_of
from support.client import Client
from support.daemon import Daemon
from support.waiting import until

CLIENTS = 8
ROUNDS = 6

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]


async def test_two_daemons_on_one_file_never_answer_5xx(tmp_path: Path) -> None:
    """Creates, uploads, patches, shows, lists and deletes from both sides; nothing is left over."""
    daemons = [Daemon(tmp_path, name=f"daemon{number}") for number in range(2)]
    statuses: Counter[int] = Counter()
    try:
        for daemon in daemons:
            await daemon.start()
        async with Client(daemons[0].url) as first, Client(daemons[1].url) as second:
            await asyncio.gather(
                *(
                    use(here, there, statuses)
                    for here, there in [(first, second), (second, first)]
                    for _ in range(CLIENTS)
                )
            )
            assert all(status < 500 for status in statuses), statuses
            assert statuses[204] >= 2 * CLIENTS * ROUNDS
            assert await first.list_all() == []

            async def nothing_left() -> bool:
                return await bytes_are_those_of(daemons[0], set())

            await until(nothing_left, "bytes were left behind")
    finally:
        for daemon in daemons:
            assert await daemon.end() == 0
    for daemon in daemons:
        assert not [event for event in daemon.events() if event["level"] in {"error", "critical"}]


async def use(here: Client, there: Client, statuses: Counter[int]) -> None:
    """The life of some images, begun at one daemon and ended at the other."""
    for _ in range(ROUNDS):
        image_id = await here.create(name="shared")
        statuses[await here.put(image_id, os.urandom(100_000))] += 1
        path = f"/v2/images/{image_id}"
        patch = b'[{"op": "add", "path": "/seen", "value": "yes"}]'
        media_type = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        for client, method, body in ((there, "PATCH", patch), (here, "GET", None)):
            status, _ = await client.request(method, path, data=body, headers=media_type)
            statuses[status] += 1
        status, _ = await there.request("GET", "/v2/images?limit=5")
        statuses[status] += 1
        statuses[await there.delete(image_id)] += 1


async def test_a_killed_daemon_is_cleaned_up_after_by_the_other(tmp_path: Path) -> None:
    """An upload's server dies; the image is queued again within lease + 2 × renew_every."""
    dying, living = Daemon(tmp_path, name="dying"), Daemon(tmp_path, name="living")
    try:
        await dying.start()
        await living.start()
        async with Client(dying.url) as client, Client(living.url) as other:
            image_id = await client.create()
            upload = asyncio.create_task(client.put(image_id, endless()))
            await other.until_status(image_id, "saving")
            await dying.end(signal.SIGKILL)
            await asyncio.gather(upload, return_exceptions=True)
            image = await other.until_status(image_id, "queued", within_seconds=2 + 2 * 0.5 + 2)
            assert "silent" in image["imaged_last_failure"]
            assert await other.put(image_id, b"second try") == 204
    finally:
        await dying.end(signal.SIGKILL)
        await living.end(signal.SIGKILL)


async def endless() -> AsyncIterator[bytes]:
    """A body that never ends by itself."""
    while True:
        yield b"x" * 65536
        await asyncio.sleep(0.01)
