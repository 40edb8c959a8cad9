"""Many pending images, several daemons and scrubbers, a lowered delay, and an operator."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.backdoor import bytes_are_those_of
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon
from support.imaged_process import ImagedProcess
from support.waiting import until

IMAGES = int(os.environ.get("IMAGED_TEST_IMAGES", "80"))
KEPT = 5  # images that stay
WANTED = 5  # images that an operator tries to restore while they are scrubbed
SCRUBBERS = 2
AT_ONCE = 16
MOST_DOUBLE_WORK = max(2, IMAGES // 100)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(IMAGES // 4 + 120)]


async def test_a_lowered_delay_frees_everything_and_touches_nothing_else(
    backend: Backend, tmp_path: Path
) -> None:
    """Two daemons, two scrubbers: none is left; restored is whole, or 409; work is done once."""
    settings = {
        "claims": {"lease": "60s", "renew_every": "10s"},  # no instance dies here
        "scrubber": {"delay": "24h", "every": "300ms"},
        "log": {"level": "debug"},
    }
    daemons = [Daemon(tmp_path, settings, f"daemon{number}", on=backend) for number in range(2)]
    scrubbers: list[ImagedProcess] = []
    first = daemons[0]
    try:
        for daemon in daemons:
            await daemon.start()
        async with Client(first.url) as client:
            kept = await upload_many(client, KEPT)
            doomed = await upload_many(client, IMAGES)
            await delete_all(client, doomed)
            assert len(await pending(first)) == IMAGES

            for daemon in daemons:
                daemon.configure(scrubber={"delay": "0"})
            scrubbers = [start_scrubber(first, number) for number in range(SCRUBBERS)]
            for daemon in daemons:
                daemon.reload()
            restored = await restore_some(first, doomed[-WANTED:])
            alive = set(kept) | restored

            async def all_gone() -> bool:
                return await bytes_are_those_of(first, alive) and not await pending(first)

            await until(all_gone, "the scrubbers left something", within_seconds=90)
            assert {image["id"] for image in await client.list_all()} == alive
            for image_id in alive:
                assert (
                    await client.digest(image_id) == (await client.show(image_id))["os_hash_value"]
                )
    finally:
        await end_scrubbers(scrubbers)
        for daemon in daemons:
            assert await daemon.end() == 0
    logs = [daemon.log_text() for daemon in daemons]
    logs += [log_of(first, number).read_text() for number in range(SCRUBBERS)]
    check_logs(logs, deleted=IMAGES - len(restored))


def check_logs(logs: Sequence[str], deleted: int) -> None:
    """No trouble, all of it done, and hardly anything twice: a quick scrubber may do everything."""
    events = [[json.loads(line) for line in log.splitlines()] for log in logs]
    workers = [
        Counter(one["key"] for one in own if one["event"] == "blob.deleted") for own in events
    ]
    times = sum(workers, Counter[str]())

    assert not [one for own in events for one in own if one["level"] in {"error", "critical"}]
    assert len(times) == deleted
    assert times.total() - len(times) <= MOST_DOUBLE_WORK


async def upload_many(client: Client, count: int) -> list[str]:
    """So many small active images."""
    limiter = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> str:
        async with limiter:
            image_id = await client.create(name=f"image {number}")
            assert await client.put(image_id, b"%d " % number * 100) == 204
            return image_id

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def delete_all(client: Client, image_ids: list[str]) -> None:
    """Delete them, several at a time."""
    limiter = asyncio.Semaphore(AT_ONCE)

    async def one(image_id: str) -> None:
        async with limiter:
            assert await client.delete(image_id) == 204

    await asyncio.gather(*(one(image_id) for image_id in image_ids))


async def pending(daemon: Daemon) -> list[dict[str, object]]:
    """What ``imaged pending`` lists."""
    code, output, errors = await daemon.command("pending", "--json")
    assert code == 0, errors
    listed: list[dict[str, object]] = json.loads(output)
    return listed


async def restore_some(daemon: Daemon, image_ids: list[str]) -> set[str]:
    """Try to take some back; those that came."""
    restored = set()
    for image_id in image_ids:
        code, _, errors = await daemon.command("restore", image_id)
        if code == 0:
            restored.add(image_id)
        else:
            assert "cannot be restored" in errors
    return restored


def start_scrubber(daemon: Daemon, number: int) -> ImagedProcess:
    """``imaged scrub``, beside the daemons."""
    return daemon.imaged("scrub", "--config", str(daemon.config), log=log_of(daemon, number))


async def end_scrubbers(scrubbers: Sequence[ImagedProcess]) -> None:
    """They end when they are asked to."""
    for scrubber in scrubbers:
        scrubber.send_signal(signal.SIGTERM)
    assert {await scrubber.end() for scrubber in scrubbers} <= {0}


def log_of(daemon: Daemon, number: int) -> Path:
    """Where a scrubber logs."""
    return daemon.folder / f"scrubber{number}.log"
