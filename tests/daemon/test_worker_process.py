"""The worker process of a daemon: instructions, reports, and when it exits."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import anyio
import pytest

from imaged.config import Config, load
from imaged.core.claim import InstanceId
from imaged.daemon.processes.channel import ChildChannel
from imaged.daemon.processes.messages import ChildFailure, ChildMessage, Command, Report, Start
from imaged.daemon.worker_process import WorkerProcess
from support.command import Workspace

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

HERE = InstanceId("here-1")


@pytest.fixture
def config(workspace: Workspace) -> Config:
    """The configuration as a daemon sends it."""
    folder = workspace.folder
    workspace.write(
        f'[tasks]\nkey_file = "{folder}/key"\n[conversion]\nscratch = "{folder}/scratch"'
    )
    return load(workspace.file).with_roles(("tasks",))


@asynccontextmanager
async def employed(wanted: str = version("imaged"), **times: Any) -> AsyncIterator[ChildChannel]:
    """A worker in this process, which it leaves as it is; the daemon's end of the line. It is gone
    at the end.
    """
    ours, theirs = socket.socketpair()
    async with anyio.create_task_group() as tasks:
        line = await ChildChannel.from_socket(ours)
        tasks.start_soon(WorkerProcess(wanted, lambda _: None, **times).run, theirs)
        yield line
        await line.close()


async def last_news(line: ChildChannel) -> ChildMessage | None:
    """Return the reports that the worker sent before it exited."""
    last = None
    while news := await line.next_report():
        last = news
    return last


async def test_it_goes_when_nothing_is_to_be_done(config: Config) -> None:
    """An idle worker exits after a last report; its daemon keeps the counts."""
    async with employed(idle_seconds=0.3) as line:
        await line.send_instruction(Start(config, HERE))
        last = await last_news(line)

    assert isinstance(last, Report)
    assert last.running == []
    assert {"imaged_catalog_transaction_seconds_count"} <= {count.name for count in last.counts}


async def test_it_goes_when_its_daemon_does(config: Config) -> None:
    """The worker exits with its daemon, however the daemon ended."""
    async with employed() as line:
        await line.send_instruction(Start(config, HERE))
        assert isinstance(await line.next_report(), Report)


async def test_it_goes_without_having_begun() -> None:
    """The worker exits if the daemon closed the channel first."""
    async with employed():
        pass


async def test_it_tells_when_it_is_asked(config: Config) -> None:
    """A requested report is sent at once."""
    async with employed(report_every=timedelta(days=1)) as line:
        await line.send_instruction(Start(config, HERE))
        for _ in range(3):
            assert isinstance(await line.next_report(), Report)
            await line.send_instruction(Command.REPORT)


async def test_it_says_why_it_cannot_work(config: Config, workspace: Workspace) -> None:
    """The worker fails with the same text as a daemon at its start."""
    workspace.images.rmdir()
    async with employed() as line:
        await line.send_instruction(Start(config, HERE))
        last = await last_news(line)

    assert isinstance(last, ChildFailure)
    assert str(workspace.images) in last.message


async def test_a_program_that_was_exchanged() -> None:
    """After an upgrade, the worker unpickles no message of the older daemon."""
    async with employed(wanted="0.0.1") as line:
        last = await last_news(line)

    assert last == ChildFailure(
        f"imaged {version('imaged')} is installed, and the daemon that runs is still 0.0.1: "
        "restart it. Tasks wait until then."
    )
