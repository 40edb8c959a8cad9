"""The worker of a daemon: what it hears, what it tells, and when it goes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

import anyio
import pytest

from imaged.config import Config, load
from imaged.core.claim import InstanceId
from imaged.daemon import worker_process
from imaged.daemon.worker_channel import Command, Report, Start, WorkerChannel, WorkerFailure
from imaged.daemon.worker_process import WorkerProcess
from support.command import Workspace

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

HERE = InstanceId("here-1")


@pytest.fixture
def config(workspace: Workspace) -> Config:
    """As a daemon hands it over."""
    folder = workspace.folder
    workspace.write(
        f'[tasks]\nkey_file = "{folder}/key"\n[conversion]\nscratch = "{folder}/scratch"'
    )
    return load(workspace.file).with_roles(("tasks",))


@asynccontextmanager
async def employed(wanted: str = version("imaged")) -> AsyncIterator[WorkerChannel]:
    """A worker in this process, which it leaves as it is; the daemon's end of the line. It is gone
    at the end.
    """
    ours, theirs = socket.socketpair()
    async with anyio.create_task_group() as tasks:
        line = await WorkerChannel.from_socket(ours)
        tasks.start_soon(WorkerProcess(wanted, set_up=lambda _: None).run, theirs)
        yield line
        await line.close()


async def last_news(line: WorkerChannel) -> Report | WorkerFailure | None:
    """What was said before it went."""
    last = None
    while news := await line.next_report():
        last = news
    return last


async def test_it_goes_when_nothing_is_to_be_done(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And tells once more what it has counted, for which its daemon answers from then on."""
    monkeypatch.setattr(worker_process, "IDLE_EXIT_SECONDS", 0.3)
    async with employed() as line:
        await line.send_instruction(Start(config, HERE))
        last = await last_news(line)

    assert isinstance(last, Report)
    assert last.running == []
    assert {"imaged_catalog_transaction_seconds_count"} <= {count.name for count in last.counts}


async def test_it_goes_when_its_daemon_does(config: Config) -> None:
    """However that ended: nobody would hear what comes of it."""
    async with employed() as line:
        await line.send_instruction(Start(config, HERE))
        assert isinstance(await line.next_report(), Report)


async def test_it_goes_without_having_begun() -> None:
    """The daemon was quicker."""
    async with employed():
        pass


async def test_it_tells_when_it_is_asked(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads figures does not wait until it is time."""
    monkeypatch.setattr(worker_process, "REPORT_INTERVAL", timedelta(days=1))
    async with employed() as line:
        await line.send_instruction(Start(config, HERE))
        for _ in range(3):
            assert isinstance(await line.next_report(), Report)
            await line.send_instruction(Command.REPORT)


async def test_it_says_why_it_cannot_work(config: Config, workspace: Workspace) -> None:
    """In the words that a daemon would have at its start."""
    workspace.images.rmdir()
    async with employed() as line:
        await line.send_instruction(Start(config, HERE))
        last = await last_news(line)

    assert isinstance(last, WorkerFailure)
    assert str(workspace.images) in last.message


async def test_a_program_that_was_exchanged() -> None:
    """The daemon still runs, from files that are gone: nothing is read of what it says."""
    async with employed(wanted="0.0.1") as line:
        last = await last_news(line)

    assert last == WorkerFailure(
        f"imaged {version('imaged')} is installed, and the daemon that runs is still 0.0.1: "
        "restart it. Tasks wait until then."
    )
