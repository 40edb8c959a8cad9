"""The supervisor of worker processes, and workers that fail in various ways."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from imaged.config import load
from imaged.core.claim import InstanceId
from imaged.core.limits import MIB
from imaged.core.retry_policy import RetryPolicy
from imaged.daemon.processes.channel import ChildChannel, CoalescingQueue
from imaged.daemon.processes.messages import ChildFailure, Command, Reload, Start
from imaged.daemon.worker_supervisor import RESTARTS, WorkerSupervisor, WorkerTimeouts
from imaged.metrics.child_counters import ChildCounters
from imaged.ports.store import Stores
from imaged.services.tasks.runner import TaskRunner
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryStore
from support.callers import ADMIN
from support.command import Workspace
from support.node import Node
from support.sample_images import active
from support.virtual_time import VirtualClock

TESTS = Path(__file__).parents[1]
PATIENCE_SECONDS = 20
SHORT_MESSAGE = ChildFailure("It has no key.")
LONG_MESSAGE = ChildFailure("x" * MIB)  # longer than the buffers of a socket
HOURLY = RetryPolicy(first_pause=timedelta(hours=1), longest_pause=timedelta(hours=1))

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

Log = Sequence[Mapping[str, Any]]


@dataclass
class Employer:
    """A supervisor with a waiting task, and fake workers of one kind."""

    shop: WorkerSupervisor
    runner: TaskRunner
    employed: Path  # a line for each started worker
    monkeypatch: pytest.MonkeyPatch

    def hire(self, how: str, **timeouts: Any) -> None:
        """Have workers behave like this."""
        self.monkeypatch.setenv("IMAGED_TEST_ODD", how)
        self.shop.timeouts = WorkerTimeouts(**timeouts)

    async def until(self, is_so: Callable[[Log], object]) -> Log:
        """Run until the log fulfils ``is_so``, stop, and return the log."""
        with capture_logs() as log, anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.shop.serve)
                while not is_so(log):  # noqa: ASYNC110 - the log sets no event
                    await anyio.sleep(0.02)
                tasks.cancel_scope.cancel()
        return log

    async def for_a_second(self) -> None:
        """Run for a while."""
        with anyio.move_on_after(1):
            await self.until(lambda _: False)


@pytest_asyncio.fixture
async def employer(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Employer]:
    """A task waits."""
    workspace.write('[tasks]\npoll_every = "100ms"')
    config, employed = load(workspace.file), workspace.folder / "employed"
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("IMAGED_TEST_ODD_LOG", str(employed))
    catalog = MemoryCatalog(VirtualClock())
    node = Node("here", catalog, Stores("near", {"near": MemoryStore("near")}))
    await catalog.add_image(image := active())
    await node.task_service.create(ADMIN, "verify", {"image_id": image.id})
    shop = WorkerSupervisor(
        node.runner,
        ChildCounters(),
        InstanceId("here"),
        lambda: config,
        module="support.fake_worker",
    )
    yield Employer(shop, node.runner, employed, monkeypatch)


def told(log: Log, event: str) -> Log:
    """What was logged of it."""
    return [one for one in log if one["event"] == event]


def require_aborted(log: Log) -> None:
    """An error tells of the silence, and the process is the one that ended."""
    (silent, *_), (ended, *_) = told(log, "process.silent"), told(log, "worker.ended")
    assert (silent["log_level"], silent["pid"]) == ("error", ended["pid"])
    assert ended["exit_code"] == -6


async def test_a_worker_that_dies(employer: Employer) -> None:
    """A crash is logged once and the next worker starts; each gets the expected version."""
    employer.hire("dies")

    log = await employer.until(lambda log: len(told(log, "worker.ended")) == 3)

    assert {one["exit_code"] for one in told(log, "worker.ended")} == {3}
    (failed,) = told(log, "duty.failed")
    assert failed["error"].startswith("The worker process ended with exit code 3.")
    assert {*employer.employed.read_text().splitlines()} == {f"dies {version('imaged')}"}


async def test_a_worker_that_is_silent(employer: Employer) -> None:
    """A silent worker is aborted, so that its stack is logged."""
    employer.hire("is silent", report_seconds=1.0)

    log = await employer.until(lambda log: told(log, "worker.ended"))

    require_aborted(log)


@pytest.mark.parametrize(
    ("how", "event"),
    [
        ("babbles", "duty.crashed"),  # an unknown message is a bug, logged with traceback
        ("announces 4 GiB", "duty.crashed"),  # too long: neither awaited nor stored
        ("is deaf", "worker.started"),  # the daemon ends
    ],
)
async def test_a_worker_that_does_not_end(employer: Employer, how: str, event: str) -> None:
    """The supervisor waits for the exit, up to a limit."""
    employer.hire(how, exit_seconds=0.1)

    log = await employer.until(lambda log: told(log, event))

    (ended, *_) = told(log, "worker.ended")
    assert ended["exit_code"] == -9
    with pytest.raises(ProcessLookupError):
        os.kill(ended["pid"], 0)


async def test_a_worker_that_does_not_read(employer: Employer) -> None:
    """A worker that does not read is aborted, and the daemon can stop."""
    employer.hire("is deaf", send_seconds=0.2, report_seconds=3600.0)

    async def say_too_much() -> None:
        while True:
            employer.shop.reload()
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(say_too_much)
        log = await employer.until(lambda log: told(log, "worker.ended"))
        tasks.cancel_scope.cancel()

    require_aborted(log)


async def test_a_message_that_is_not_read_in_time() -> None:
    """The channel is closed: what would follow a part of a message is no message."""
    ours, theirs = socket.socketpair()
    channel = await ChildChannel.from_socket(ours, send_seconds=0.05)
    sending = asyncio.create_task(channel.send_report(LONG_MESSAGE))
    try:
        await asyncio.wait({sending}, timeout=PATIENCE_SECONDS)
        assert sending.done()
    finally:
        theirs.close()

    assert await sending is False
    assert await channel.next_report() is None


async def test_a_message_whose_sender_is_cancelled() -> None:
    """It is sent to its end, so that the next one begins where it should."""
    channel, peer = [await ChildChannel.from_socket(one) for one in socket.socketpair()]
    received: list[object] = []

    async def cancel_and_read(sending: anyio.CancelScope) -> None:
        sending.cancel()
        received.append(await peer.next_report())
        received.append(await peer.next_report())

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as sending:
            tasks.start_soon(cancel_and_read, sending)
            await channel.send_report(LONG_MESSAGE)
        await channel.send_report(SHORT_MESSAGE)
        await channel.close()
    await peer.close()

    assert received == [LONG_MESSAGE, SHORT_MESSAGE]


async def test_messages_that_a_worker_has_not_read_yet() -> None:
    """The queue keeps the latest instruction of each kind, in the order of arrival."""
    config = load(None)
    queue, last = CoalescingQueue(), Reload(config.with_roles(("tasks",)))
    queue.put(Start(config, InstanceId("here")))
    for _ in range(1000):
        queue.put(Reload(config))
        queue.put(Command.CHECK_TASKS)
        queue.put(Command.REPORT)
    queue.put(last)

    assert len(queue) == 4
    taken = [await queue.get() for _ in range(4)]
    assert taken == [Start(config, InstanceId("here")), last, Command.CHECK_TASKS, Command.REPORT]
    with anyio.move_on_after(0.01) as patience:
        await queue.get()
    assert patience.cancelled_caught


async def test_a_worker_that_cannot_be_started(
    employer: Employer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is logged, and the start is repeated."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    log = await employer.until(lambda log: told(log, "duty.failed"))

    (failed,) = told(log, "duty.failed")
    assert failed["error"] == ("The worker process cannot be started: No such file or directory.")


async def test_it_waits_longer_each_time() -> None:
    """The delay grows: during a long outage, workers do not start every second."""
    waits = [RESTARTS.pause(failures).total_seconds() for failures in range(1, 9)]

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_a_worker_that_failed_early_is_replaced_later(employer: Employer) -> None:
    """A failing worker is not restarted at once, however often tasks arrive."""
    employer.hire("dies", restarts=HOURLY)
    await employer.until(lambda log: told(log, "duty.failed"))
    employer.runner.wakeup.wake()

    await employer.for_a_second()

    assert len(employer.employed.read_text().splitlines()) == 1


async def test_a_worker_that_has_worked_is_replaced_at_once(employer: Employer) -> None:
    """A worker that reported is replaced at once: its task has limited attempts."""
    employer.hire("reports and dies", restarts=HOURLY)

    log = await employer.until(lambda log: len(told(log, "worker.ended")) == 3)

    assert {one["exit_code"] for one in told(log, "worker.ended")} == {3}


async def test_without_tasks_no_worker_is_started(employer: Employer) -> None:
    """No worker starts without waiting tasks, or while the daemon stops."""
    employer.hire("dies")
    employer.shop.stop_claiming()

    await employer.for_a_second()

    assert not employer.employed.exists()
