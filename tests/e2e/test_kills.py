"""Real daemons, killed at random moments: nothing stuck, nothing lost, no byte unaccounted for."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from support.backdoor import bytes_are_those_of, require_settled
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon
from support.traffic import Traffic
from support.waiting import until

KILLS = int(os.environ.get("IMAGED_TEST_KILLS", "3"))

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(20 * KILLS + 120)]


async def test_kills_leave_nothing_stuck_and_nothing_lost(backend: Backend, tmp_path: Path) -> None:
    """Kill -9 of two daemons during uploads and scrubs; then every promise is looked at."""
    daemons = [Daemon(tmp_path, name=f"daemon{number}", on=backend) for number in range(2)]
    traffic = Traffic(daemons, seed=7)
    for daemon in daemons:
        await daemon.start()
    clients = asyncio.create_task(traffic.run())
    try:
        for _ in range(KILLS):
            await asyncio.sleep(traffic.random.uniform(0.05, 1.0))
            victim = traffic.random.choice(daemons)
            await victim.end(signal.SIGKILL)
            await victim.start()
        traffic.end()
        await clients
        async with Client(daemons[0].url) as client:
            await check_images(client, traffic)
            await check_bytes(daemons[0], client)
            await check_retries(client)
            await check_bytes(daemons[0], client)
    finally:
        clients.cancel()
        for daemon in daemons:
            await daemon.end(signal.SIGKILL)


async def check_images(client: Client, traffic: Traffic) -> None:
    """What was acknowledged is there, whole; what is there is what a client sent."""
    images = await require_settled(client)
    for image_id, digest in traffic.acknowledged.items():
        if image_id not in traffic.deleted:
            assert images[image_id]["status"] == "active"
            assert images[image_id]["os_hash_value"] == digest
    for image_id, image in images.items():
        assert image["status"] in {"queued", "active"}
        if image["status"] == "active":
            found = await client.digest(image_id)
            assert found == image["os_hash_value"]
            assert found in traffic.sent[image_id]
        else:
            assert image["size"] is None
            assert image["checksum"] is None
    assert len(traffic.acknowledged) > KILLS / 4  # the test did something


async def check_bytes(daemon: Daemon, client: Client) -> None:
    """Whatever the store has belongs to an active image, and the ledger says the same."""

    async def agree() -> bool:
        images = await client.list_all()
        active = {image["id"] for image in images if image["status"] == "active"}
        return await bytes_are_those_of(daemon, active)

    await until(agree, "store, ledger and images do not agree")


async def check_retries(client: Client) -> None:
    """Whatever a kill threw back takes other data, sent on purpose, at the second try."""
    queued = [image["id"] for image in await client.list_all() if image["status"] == "queued"]
    for image_id in queued:
        assert await client.put(image_id, b"once more", replaces=True) == 204
