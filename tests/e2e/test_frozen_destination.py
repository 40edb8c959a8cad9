"""A destination of exports whose disk hangs: other work goes on, and the log names it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support import frozen_disk
from support.client import Client
from support.daemon import Daemon
from support.task_client import TaskClient

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

TESTS = Path(__file__).parents[1]
DATA = os.urandom(100_000)


@pytest_asyncio.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    """With two destinations; one of them hangs when the test says so."""
    folders = {name: tmp_path / name for name in ("frozen", "archive")}
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'support/frozen'}:{TESTS}")
    monkeypatch.setenv(frozen_disk.FROZEN_FOLDER_VARIABLE, str(folders["frozen"]))
    exports: dict[str, dict[str, object]] = {}
    for name, folder in folders.items():
        folder.mkdir()
        exports[f"exports.{name}"] = {
            "type": "filesystem",
            "path": str(folder),
            "min_free": "0",
        }
    tasks = {"stalled_after": "2s", "concurrency": 2, "poll_every": "200ms"}
    daemon = Daemon(tmp_path, {"tasks": tasks, **exports})
    await daemon.start()
    yield daemon
    await daemon.end(signal.SIGKILL)


async def test_no_other_work_waits_for_it(daemon: Daemon, tmp_path: Path) -> None:
    """Four exports to it: others are done meanwhile, and its own when it answers again."""
    frozen = tmp_path / "frozen"
    async with Client(daemon.url) as client:
        tasks = TaskClient(client)
        image_id = await client.create()
        assert await client.put(image_id, DATA) == 204
        frozen_disk.freeze(frozen)
        asked = (
            tasks.ask("export", image_id=image_id, export_to="frozen", file_name=str(number))
            for number in range(4)
        )
        stuck = await asyncio.gather(*asked)

        for kind, fields in (("export", {"export_to": "archive"}), ("verify", {})):
            done = await tasks.do(kind, image_id=image_id, **fields)
            assert done["status"] == "success", done["message"]
        await daemon.until_told("task.stalled")
        frozen_disk.thaw(frozen)
        for task_id in stuck:
            done = await tasks.end_of(task_id, 120)
            assert done["status"] == "success", done["message"]

    assert {path.name for path in frozen.iterdir()} >= {"0", "1", "2", "3"}
