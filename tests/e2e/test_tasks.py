"""Tasks in real daemons: they survive kills and restarts, and never get in the way of a stop."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from support.backdoor import require_settled
from support.backend import Backend
from support.client import Client
from support.daemon import Daemon
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]
#: What the store has no part in.
on_a_folder = pytest.mark.parametrize("backend", ["folder"], indirect=True)

JSON = {"Accept": "application/json"}
DATA = random.Random(5).randbytes(24 * MIB)
SETTINGS = {"tasks": {"poll_every": "200ms"}, "log": {"level": "debug", "format": "json"}}


class Asker:
    """A client of tasks."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request; status and JSON of the answer."""
        async with aiohttp.ClientSession() as session:
            url = self._daemon.url + path
            async with session.request(method, url, json=body, headers=JSON) as answer:
                text = await answer.read()
                return answer.status, (await answer.json() if text else None)

    async def ask(self, type_name: str, **fields: object) -> str:
        """Ask for a task; its id."""
        status, task = await self.call("POST", "/v2/tasks", {"type": type_name, "input": fields})
        assert status == 201, task
        task_id: str = task["id"]
        return task_id

    async def show(self, task_id: str) -> dict[str, Any]:
        """Look at a task."""
        status, task = await self.call("GET", f"/v2/tasks/{task_id}")
        assert status == 200, task
        shown: dict[str, Any] = task
        return shown

    async def ended(self, task_id: str) -> dict[str, Any]:
        """Look at a task until it has ended."""

        async def is_final() -> bool:
            return (await self.show(task_id))["status"] in {"success", "failure"}

        await until(is_final, f"the task {task_id} does not end", within_seconds=90)
        return await self.show(task_id)


@pytest_asyncio.fixture
async def daemon(backend: Backend, tmp_path: Path) -> AsyncIterator[Daemon]:
    """One that looks for tasks often."""
    daemon = Daemon(tmp_path, on=backend, settings=SETTINGS)
    await daemon.start()
    yield daemon
    await daemon.end()


async def settled(daemon: Daemon) -> None:
    """Nothing is stuck, and the bytes are those of the images that there are."""
    async with Client(daemon.url) as client:
        await require_settled(client)


async def active(daemon: Daemon, data: bytes = DATA) -> str:
    """An image with data."""
    async with Client(daemon.url) as client:
        image_id = await client.create()
        assert await client.put(image_id, data) == 204
        return image_id


@on_a_folder
async def test_from_the_call_to_the_result(daemon: Daemon) -> None:
    """A clone takes no time, a verification tells what is right, and expired tasks go."""
    image_id, asker = await active(daemon), Asker(daemon)

    clone = await asker.ended(await asker.ask("clone", image_id=image_id))
    verify = await asker.ended(await asker.ask("verify", image_id=clone["result"]["image_id"]))

    assert (clone["status"], verify["status"]) == ("success", "success")
    assert verify["result"]["healthy"] is True
    assert verify["progress"]["percent"] == 100
    assert (await asker.call("DELETE", f"/v2/tasks/{clone['id']}"))[0] == 204
    daemon.configure(tasks={"time_to_live": "0"})
    daemon.reload()

    async def is_reloaded() -> bool:
        return any(event["event"] == "config.reloaded" for event in daemon.events())

    await until(is_reloaded, "it was not reloaded")
    short = await asker.ask("verify", image_id=image_id)

    async def is_gone() -> bool:
        return (await asker.call("GET", f"/v2/tasks/{short}"))[0] == 404

    await until(is_gone, "it did not expire")
    await settled(daemon)


@on_a_folder
async def test_expired_tasks_go_without_anyone_looking(daemon: Daemon) -> None:
    """No one has to ask for them or list them; what they made stays."""
    await daemon.end()
    daemon.configure(tasks={"time_to_live": "0"})
    await daemon.start()
    image_id, asker = await active(daemon), Asker(daemon)
    task_ids = {await asker.ask("clone", image_id=image_id) for _ in range(3)}

    async def have_gone() -> bool:
        expired = [event for event in daemon.events() if event["event"] == "task.expired"]
        return {event["task_id"] for event in expired} == task_ids

    await until(have_gone, "they did not expire")
    assert (await asker.call("GET", "/v2/tasks"))[1]["tasks"] == []
    async with Client(daemon.url) as client:
        images = await client.list_all()
    assert [image["status"] for image in images] == ["active"] * 4


@on_a_folder
async def test_a_task_made_before_a_restart_is_finished_after_it(daemon: Daemon) -> None:
    """Whether the process was stopped, or killed in the middle of it: the same result."""
    image_id, asker = await active(daemon), Asker(daemon)
    for how in (signal.SIGTERM, signal.SIGKILL):
        task_ids = [await asker.ask("verify", image_id=image_id) for _ in range(6)]
        task_ids += [await asker.ask("clone", image_id=image_id) for _ in range(3)]
        await daemon.end(how)
        await daemon.start()
        for task_id in task_ids:
            task = await asker.ended(task_id)
            assert task["status"] == "success", task
    status, page = await asker.call("GET", "/v2/images?limit=100")
    assert (status, len(page["images"])) == (200, 1 + 2 * 3)
    await settled(daemon)


@on_a_folder
async def test_a_stop_does_not_wait_for_tasks(daemon: Daemon) -> None:
    """They are given back: no attempt was counted, and the next start finishes them."""
    image_id, asker = await active(daemon), Asker(daemon)
    task_ids = [await asker.ask("verify", image_id=image_id) for _ in range(12)]

    assert await daemon.end() == 0

    await daemon.start()
    tasks = [await asker.ended(task_id) for task_id in task_ids]
    assert {task["status"] for task in tasks} == {"success"}
    given_back = [event for event in daemon.events() if event.get("to_status") == "pending"]
    assert {event["attempts"] for event in given_back if "from_status" in event} <= {0}


async def test_kills_at_every_phase(daemon: Daemon) -> None:
    """In the middle of each phase of each type: every task ends, and nothing is left behind."""
    image_id, asker = await active(daemon), Asker(daemon)
    for type_name, phase in (("verify", "verifying"), ("clone", "sharing")):
        task_id = await asker.ask(type_name, image_id=image_id)

        async def has_begun(task_id: str = task_id, phase: str = phase) -> bool:
            return any(
                event["event"] == "task.phase_began"
                and (event["task_id"], event["phase"]) == (task_id, phase)
                for event in daemon.events()
            )

        await until(has_begun, f"{phase} did not begin")
        await daemon.end(signal.SIGKILL)
        await daemon.start()
        assert (await asker.ended(task_id))["status"] == "success"
    await settled(daemon)


async def test_several_instances_share_the_work(shared: Backend, tmp_path: Path) -> None:
    """Each task is done once, on any instance; one instance is killed meanwhile."""
    patient = {**SETTINGS, "claims": {"lease": "8s", "renew_every": "500ms"}}  # on busy machines
    daemons = [
        Daemon(tmp_path, name=f"d{number}", on=shared, settings=patient) for number in range(3)
    ]
    for daemon in daemons:
        await daemon.start()
    try:
        image_id, askers = await active(daemons[0]), [Asker(daemon) for daemon in daemons]
        task_ids = [
            await askers[number % 3].ask(("clone", "verify")[number % 2], image_id=image_id)
            for number in range(12)
        ]
        await daemons[1].end(signal.SIGKILL)
        tasks = await asyncio.gather(*[askers[0].ended(task_id) for task_id in task_ids])

        assert {task["status"] for task in tasks} == {"success"}
        _, page = await askers[2].call("GET", "/v2/images?limit=100")
        assert len(page["images"]) == 1 + 6
    finally:
        for daemon in daemons:
            await daemon.end()
