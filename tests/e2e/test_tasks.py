"""Tasks in real daemons: they survive kills and restarts, and never get in the way of a stop."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from support.backdoor import require_settled
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon
from support.task_client import TaskClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

DATA = random.Random(5).randbytes(24 * MIB)
SETTINGS = {"tasks": {"poll_every": "200ms"}, "log": {"level": "debug", "format": "json"}}


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """One that looks for tasks often."""
    daemon = Daemon(tmp_path, settings=SETTINGS)
    await daemon.start()
    yield daemon
    await daemon.end()


@pytest_asyncio.fixture
async def client(daemon: Daemon) -> AsyncIterator[Client]:
    """A client of it."""
    async with Client(daemon.url) as client:
        yield client


async def active(client: Client) -> str:
    """An image with data."""
    image_id = await client.create()
    assert await client.put(image_id, DATA) == 204
    return image_id


async def test_from_the_call_to_the_result(daemon: Daemon, client: Client) -> None:
    """A clone takes no time, a verification tells what is right, and expired tasks go without a
    look at them; what they made stays.
    """
    image_id, tasks = await active(client), TaskClient(client)

    clone = await tasks.do("clone", image_id=image_id)
    verify = await tasks.do("verify", image_id=clone["result"]["image_id"])

    assert (clone["status"], verify["status"]) == ("success", "success")
    assert verify["result"]["healthy"] is True
    assert verify["progress"]["percent"] == 100
    assert (await client.request("DELETE", f"/v2/tasks/{clone['id']}"))[0] == 204
    daemon.configure(tasks={"time_to_live": "0"})
    daemon.reload()
    await daemon.until_told("config.reloaded")
    short = await tasks.ask("clone", image_id=image_id)
    await daemon.until_told("task.expired")
    assert [event["task_id"] for event in daemon.told("task.expired")] == [short]
    assert (await client.request("GET", f"/v2/tasks/{short}"))[0] == 404
    images = await require_settled(client)
    assert [image["status"] for image in images.values()] == ["active"] * 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_a_start_finishes_what_was_begun(
    daemon: Daemon, client: Client, how: signal.Signals
) -> None:
    """In the middle of it, too. A stop does not wait for tasks: they are given back, and no
    attempt was counted.
    """
    image_id, tasks = await active(client), TaskClient(client)
    task_ids = [await tasks.ask("verify", image_id=image_id) for _ in range(6)]
    task_ids += [await tasks.ask("clone", image_id=image_id) for _ in range(3)]
    await daemon.until_told("task.phase_began")

    code = await daemon.end(how)

    await daemon.start()
    ended = [await tasks.end_of(task_id) for task_id in task_ids]
    assert {task["status"] for task in ended} == {"success"}
    assert len(await require_settled(client)) == 1 + 3
    if how is signal.SIGTERM:
        assert code == 0
        given_back = [one for one in daemon.told("task.status") if one["to_status"] == "pending"]
        assert {event["attempts"] for event in given_back} == {0}


async def test_several_instances_share_the_work(shared: Backend, tmp_path: Path) -> None:
    """Each task is done once, on any instance; one instance is killed meanwhile."""
    patient = {**SETTINGS, "claims": {"lease": "8s", "renew_every": "500ms"}}  # on busy machines
    daemons = [
        Daemon(tmp_path, name=f"d{number}", on=shared, settings=patient) for number in range(2)
    ]
    for daemon in daemons:
        await daemon.start()
    try:
        async with Client(daemons[0].url) as here, Client(daemons[1].url) as there:
            image_id, askers = await active(here), [TaskClient(one) for one in (here, there)]
            task_ids = [
                await askers[number % 2].ask(("clone", "verify")[number // 2], image_id=image_id)
                for number in range(4)
            ]
            await daemons[1].end(signal.SIGKILL)
            tasks = await asyncio.gather(*[askers[0].end_of(task_id) for task_id in task_ids])

            assert {task["status"] for task in tasks} == {"success"}
            assert len(await here.list_all()) == 1 + 2
    finally:
        for daemon in daemons:
            await daemon.end()
