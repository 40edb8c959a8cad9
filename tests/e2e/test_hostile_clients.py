"""Hostile clients that hold connections are closed, and all others get answers."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.client import Client
from support.daemon import Daemon
from support.hostile_clients import HostileClients, run_hostile_clients
from support.waiting import until

IDLE, TRICKLE, DAWDLE, NORMAL = 500, 100, 50, 10
FILES = 2048
LIMITS = {
    "header_timeout": "4s",
    "idle_timeout": "5s",
    "min_rate": "1KiB",
    "min_rate_window": "4s",
}

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """A crowd needs descriptors, here and in the daemon, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, FILES) if hard == resource.RLIM_INFINITY else min(max(soft, FILES), hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def behave(client: Client, image_id: str, answers: Counter[int], over: asyncio.Event) -> None:
    """Read a record, and upload a little, again and again."""
    while not over.is_set():
        answers[(await client.request("GET", f"/v2/images/{image_id}"))[0]] += 1
        answers[await client.put(await client.create(), b"a small image")] += 1


def sockets_of(daemon: Daemon) -> int:
    """How many sockets the daemon has open."""
    assert daemon.process is not None
    names = Path(f"/proc/{daemon.process.pid}/fd").iterdir()
    found = 0
    for name in names:
        try:
            found += str(name.readlink()).startswith("socket:")
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


async def test_normal_clients_beside_a_crowd(tmp_path: Path) -> None:
    """Idle, trickling and dawdling ones are ended; normal ones notice nothing."""
    daemon = Daemon(tmp_path, {"api": LIMITS, "claims": {"lease": "60s", "renew_every": "10s"}})
    await daemon.start()
    try:
        before = sockets_of(daemon)
        async with Client(daemon.url) as client:
            slow_ids = [await client.create() for _ in range(DAWDLE)]
            shown = await client.create()
            swarm, answers, over = HostileClients(daemon.port), Counter[int](), asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(NORMAL):
                    tasks.create_task(behave(client, shown, answers, over))
                await run_hostile_clients(swarm, IDLE, TRICKLE, slow_ids)
                over.set()
            statuses = {(await client.show(image_id))["status"] for image_id in slow_ids}
            everything = Counter(image["status"] for image in await client.list_all())

        worse = [event for event in daemon.events() if event["level"] in {"warning", "error"}]
        assert not worse
        assert answers.keys() == {200, 204}
        assert swarm.ended == {
            ("idle", ""): IDLE,
            ("trickle", "HTTP/1.1 408 Request Timeout"): TRICKLE,
            ("dawdle", "HTTP/1.1 408 Request Timeout"): DAWDLE,
        }
        assert statuses == {"queued"}
        assert everything.keys() == {"queued", "active"}

        async def all_are_gone() -> bool:
            return sockets_of(daemon) <= before  # the first client may still have been there

        await until(all_are_gone, "connections are left over")
    finally:
        await daemon.end(signal.SIGKILL)
