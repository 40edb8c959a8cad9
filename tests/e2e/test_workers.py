"""Tasks have a process of their own: what holds when it, or its daemon, is killed or stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from imaged.core.limits import MIB
from support import disk_images
from support.backend import SECOND_STORE, FolderBackend, with_second_store
from support.client import Client
from support.daemon import Daemon
from support.metrics_socket import figures, metrics_settings
from support.origin import Origin
from support.task_client import TaskClient
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

DISK = disk_images.raw() + os.urandom(8 * MIB)
HALF = 4 * MIB
SIGNALS_FOR_ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    """Where images come from."""
    async with Origin(DISK, host="127.0.0.2").running() as origin:
        yield origin


@pytest_asyncio.fixture
async def daemon(tmp_path: Path, origin: Origin) -> AsyncIterator[Daemon]:
    """Not started yet."""
    settings: dict[str, dict[str, object]] = {
        "claims": {"lease": "8s", "renew_every": "500ms"},  # busy machines let a worker wait
        "fetch": {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]},
        "metrics": metrics_settings(tmp_path),
    }
    daemon = Daemon(tmp_path, settings)
    yield daemon
    await daemon.end(signal.SIGKILL)


@pytest_asyncio.fixture
async def tasks(daemon: Daemon) -> AsyncIterator[TaskClient]:
    """How they are asked for."""
    async with Client(daemon.url) as client:
        yield TaskClient(client)


async def import_halfway(tasks: TaskClient, origin: Origin) -> str:
    """An import whose source has become silent; the task's id."""
    origin.hangs_after = HALF
    task_id = await ask_import(tasks, origin)
    await tasks.until_phase(task_id, "fetching")
    return task_id


async def ask_import(tasks: TaskClient, origin: Origin) -> str:
    """Ask for an import; the task's id."""
    return await tasks.ask("import", import_from=origin.url, import_from_format="raw")


def go_on(origin: Origin) -> None:
    """The source speaks again."""
    origin.hangs_after = None
    origin.hang.set()


def worker_of(daemon: Daemon) -> int:
    """The process of the worker that began last."""
    pid: int = daemon.told("worker.started")[-1]["pid"]
    return pid


def is_there(pid: int) -> bool:
    """Whether a process runs."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def counts_imports(daemon: Daemon, number: int) -> bool:
    """Whether the daemon has heard of so many imports that ended well."""
    return (await figures(daemon.folder))["imaged_tasks_ended_total/success/import"] == number


async def test_a_process_of_their_own(daemon: Daemon, tasks: TaskClient, origin: Origin) -> None:
    """Behind the one that answers, which tells of both as of one instance. A terminal sends its
    signals to every process; the worker hears from its daemon what to do.
    """
    await daemon.start()
    assert not daemon.told("worker.started")
    task_id = await import_halfway(tasks, origin)
    assert daemon.process is not None
    here, there = daemon.process.pid, worker_of(daemon)
    busy = await figures(daemon.folder)
    _, output, _ = await daemon.command("status", "--json")
    status = json.loads(output)
    for one in SIGNALS_FOR_ALL:
        os.kill(there, one)
    go_on(origin)
    task = await tasks.end_of(task_id)
    idle = await figures(daemon.folder)

    assert task["status"] == "success"
    assert [one["attempts"] for one in life(daemon, task_id)] == [0, 1, 1]
    assert os.getpriority(os.PRIO_PROCESS, there) == os.getpriority(os.PRIO_PROCESS, here) + 5
    allowed, taken = os.sched_getaffinity(here), os.sched_getaffinity(there)
    assert len(allowed - taken) == min(1, len(allowed) - 1)
    assert [one["instance"] for one in status["task_holdings"]] == [
        one["id"] for one in status["instances"]
    ]
    assert (busy["imaged_claims_held"], idle["imaged_claims_held"]) == (1, 0)
    assert idle["imaged_tasks_ended_total/success/import"] == 1
    assert idle["imaged_transferred_bytes_total/upload"] == len(DISK)


async def test_a_worker_that_is_killed(daemon: Daemon, tasks: TaskClient, origin: Origin) -> None:
    """Another one has its tasks, when their leases have run out; the figures stay."""
    await daemon.start()
    await tasks.end_of(await ask_import(tasks, origin))
    task_id = await import_halfway(tasks, origin)
    await until(partial(counts_imports, daemon, 1), "the worker never told of its import")
    killed = worker_of(daemon)
    os.kill(killed, signal.SIGKILL)
    go_on(origin)

    task = await tasks.end_of(task_id)

    assert (task["status"], task["message"]) == ("success", None)
    await until(partial(counts_imports, daemon, 2), "the figures do not go on")
    assert worker_of(daemon) != killed
    (ended, *_), (failed,) = daemon.told("worker.ended"), daemon.told("duty.failed")
    assert (ended["pid"], ended["exit_code"]) == (killed, -9)
    assert (failed["duty"], failed["level"]) == ("tasks", "warning")
    assert [one["attempts"] for one in life(daemon, task_id)] == [0, 1, 1, 2, 2]


async def test_a_daemon_that_is_killed(daemon: Daemon, tasks: TaskClient, origin: Origin) -> None:
    """Its worker gives back and goes, without being told; the attempt does not count."""
    await daemon.start()
    task_id = await import_halfway(tasks, origin)
    left = worker_of(daemon)
    assert daemon.process is not None
    daemon.process.kill()
    await daemon.end()

    async def is_gone() -> bool:
        return not is_there(left)

    await until(is_gone, "the worker stays")
    go_on(origin)
    await daemon.start()
    task = await tasks.end_of(task_id)

    assert task["status"] == "success"
    assert [one["attempts"] for one in life(daemon, task_id)] == [0, 1, 0, 1, 1]


async def test_a_daemon_that_is_stopped(daemon: Daemon, tasks: TaskClient, origin: Origin) -> None:
    """It waits until its worker has given back."""
    await daemon.start()
    task_id = await import_halfway(tasks, origin)

    assert await daemon.end() == 0

    assert not is_there(worker_of(daemon))
    events = [one["event"] for one in daemon.events()]
    assert events.index("worker.ended") < events.index("daemon.stopped")
    assert daemon.told("worker.ended")[0]["exit_code"] == 0
    assert life(daemon, task_id)[-1]["to_status"] == "pending"


async def test_a_daemon_that_drains(daemon: Daemon, tasks: TaskClient, origin: Origin) -> None:
    """While an upload ends, so may a task that has begun; what waits is left to others."""
    daemon.configure(tasks={"concurrency": 1})
    await daemon.start()
    begun = await import_halfway(tasks, origin)
    waiting = await ask_import(tasks, origin)
    stopping, last = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield DISK
        stopping.set()
        await last.wait()
        yield DISK

    async def has_ended() -> bool:
        return bool(life(daemon, begun)[-1]["to_status"] == "success")

    async with Client(daemon.url) as client:
        image_id = await client.create()
        upload = asyncio.create_task(client.put(image_id, body()))
        await stopping.wait()
        ending = asyncio.create_task(daemon.end())
        await daemon.until_told("daemon.stopping")
        go_on(origin)
        await until(has_ended, "the task does not end")
        last.set()
        assert (await upload, await ending) == (204, 0)

    assert [one["to_status"] for one in life(daemon, waiting)] == ["pending"]


async def test_cancelling_stops_the_work_at_once(
    daemon: Daemon, tasks: TaskClient, origin: Origin
) -> None:
    """Long before a lease is renewed, while the other side is silent."""
    daemon.configure(claims={"lease": "10m", "renew_every": "2m"})
    await daemon.start()
    task_id = await import_halfway(tasks, origin)

    task = await tasks.cancel(task_id)

    assert (task["status"], task["result"]) == ("failure", None)
    assert "cancelled" in task["message"]

    async def is_stopped() -> bool:
        return (await figures(daemon.folder))["imaged_claims_held"] == 0

    await until(is_stopped, "the work goes on")


async def test_settings_that_are_changed(daemon: Daemon, tasks: TaskClient, origin: Origin) -> None:
    """Hold for the worker, too."""
    await daemon.start()
    assert (await tasks.end_of(await ask_import(tasks, origin)))["status"] == "success"
    daemon.configure(uploads={"max_size": "1MiB"})
    daemon.reload()

    await daemon.until_told("config.reloaded")
    task = await tasks.end_of(await ask_import(tasks, origin))

    assert task["status"] == "failure"
    assert str(MIB) in task["message"]
    assert len(daemon.told("worker.started")) == 1


async def test_brief_tasks_do_not_wait(daemon: Daemon, tasks: TaskClient, origin: Origin) -> None:
    """A clone that shares its bytes is made by the accepting daemon, while the worker is full."""
    daemon.configure(tasks={"concurrency": 1})
    await daemon.start()
    done = await tasks.end_of(await ask_import(tasks, origin))
    source_id = done["result"]["image_id"]
    slow, waiting = await import_halfway(tasks, origin), await ask_import(tasks, origin)

    cloned = await tasks.do("clone", image_id=source_id)

    assert cloned["status"] == "success"
    assert [(await tasks.show(one))["status"] for one in (slow, waiting)] == [
        "processing",
        "pending",
    ]


async def test_tasks_that_waited_for_a_start(
    daemon: Daemon, tasks: TaskClient, origin: Origin
) -> None:
    """A worker is started for tasks that were there before."""
    daemon.configure(daemon={"roles": ["api", "scrubber"]})
    await daemon.start()
    task_id = await ask_import(tasks, origin)
    await daemon.end()
    daemon.configure()
    await daemon.start()

    assert (await tasks.end_of(task_id))["status"] == "success"


def life(daemon: Daemon, task_id: str) -> list[dict[str, Any]]:
    """What became of a task, step by step."""
    return [one for one in daemon.told("task.status") if one["task_id"] == task_id]


async def test_a_store_that_is_down_stops_no_task_of_another(
    tmp_path: Path, origin: Origin
) -> None:
    """Its tasks are worked on as long as one store is there."""
    backend = with_second_store(FolderBackend(tmp_path))
    settings: dict[str, dict[str, object]] = {
        "fetch": {"allow": ["127.0.0.2/32"], "ports": [80, origin.port]},
    }
    daemon = Daemon(tmp_path, settings, on=backend)
    await daemon.start()
    try:
        (tmp_path / SECOND_STORE).rename(tmp_path / "unmounted")
        async with Client(daemon.url) as client:
            tasks = TaskClient(client)
            task_id = await ask_import(tasks, origin)
            assert (await tasks.end_of(task_id))["status"] == "success"
        lines = daemon.told("store.degraded")
        assert SECOND_STORE in [line["store"] for line in lines if line["operation"] == "open"]
    finally:
        await daemon.end(signal.SIGKILL)
