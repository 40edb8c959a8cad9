"""The place of one process that answers: it is started, watched, and replaced when it has died."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Protocol

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from imaged.core.claim import InstanceId
from imaged.core.retry_policy import RetryPolicy
from imaged.daemon.processes.channel import CHANNEL_SEND_SECONDS, ChildChannel
from imaged.daemon.processes.child_link import ChildLink
from imaged.daemon.processes.fork_server import (
    ForkedProcess,
    ForkRefused,
    ForkServer,
    ForkServerLost,
)
from imaged.daemon.processes.messages import (
    ChildFailure,
    ChildMessage,
    Command,
    Instruction,
    Ready,
    Reloaded,
    Report,
)
from imaged.metrics.child_counters import ChildCounters

log = structlog.get_logger()

REPORT_SECONDS = 30.0  # reports are due every second; a quarter of WatchdogSec=
EXIT_SECONDS = 30.0  # after the channel closed: for the closing of disks and buckets
STABLE_SECONDS = 5.0  # a process that ran as long does not count as a failed start
#: Between failed starts; after the death of a process that was stable the next one does not wait.
RESTARTS = RetryPolicy(first_pause=timedelta(seconds=1), longest_pause=timedelta(seconds=10))


class SlotOwner(Protocol):
    """What a slot asks of the one that has it, and tells it."""

    listeners: Sequence[socket.socket]
    draining: anyio.Event

    def new_holder(self) -> InstanceId:
        """Return a name for the claims of the next process."""
        ...

    def first_instructions(self, slot: ProcessSlot, holder: InstanceId) -> Iterable[Instruction]:
        """What a process is told at its start."""
        ...

    def receive(self, slot: ProcessSlot, message: ChildMessage) -> None:
        """Note a message of the process in a slot."""
        ...

    def process_ended(self, slot: ProcessSlot, holder: InstanceId, exit_code: int | None) -> None:
        """Note the end of the process in a slot; what it had is free."""
        ...


@dataclass(eq=False)
class RunningProcess:
    """The process in a slot. ``failure``: what it said before it ended."""

    process: ForkedProcess
    link: ChildLink
    report: Report = field(default_factory=Report)
    reported: anyio.Event = field(default_factory=anyio.Event)
    reloaded: anyio.Event = field(default_factory=anyio.Event)  # it has the last configuration
    ready_at: float | None = None  # by the event loop's clock
    failure: str = ""


@dataclass(eq=False)
class ProcessSlot:
    """Runs one process after the other. ``counters``: of all that ran here."""

    number: int  # from 1 on
    fork_server: ForkServer
    owner: SlotOwner
    counters: ChildCounters = field(default_factory=ChildCounters)
    current: RunningProcess | None = None
    tried: anyio.Event = field(default_factory=anyio.Event)  # it was ready, or has failed
    failures: int = 0  # starts in a row
    failure: str = ""  # the last one

    async def keep_running(self) -> None:
        """Run processes until the daemon drains and the last one has ended."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            while not self.owner.draining.is_set():
                await self._run_next()
                self.tried.set()
                if self.failures:
                    with anyio.move_on_after(RESTARTS.pause(self.failures).total_seconds()):
                        await self.owner.draining.wait()

    def send(self, instruction: Instruction) -> None:
        """Send to the process, if one runs."""
        if self.current is not None:
            self.current.link.send(instruction)

    async def _run_next(self) -> None:
        """Run one process until it has ended."""
        try:
            process, channel = await self._fork()
        except (ForkRefused, ForkServerLost) as error:
            self.failures += 1
            self.failure = str(error)
            log.error("process.ended", process=self.number, why=str(error))  # noqa: TRY400 - expected
            return
        holder = self.owner.new_holder()
        link = ChildLink(
            channel,
            self._receive,
            partial(self._abort_silent, process, self._tasks),
            REPORT_SECONDS,
            CHANNEL_SEND_SECONDS,
        )
        running = self.current = RunningProcess(process, link)
        log.info("process.started", pid=process.pid, process=self.number)
        for instruction in self.owner.first_instructions(self, holder):
            link.send(instruction)
        if self.owner.draining.is_set():
            link.send(Command.DRAIN)
        try:
            await link.run()
        except msgspec.MsgspecError as error:
            running.failure = f"a message of it cannot be read: {error}"
            await self.fork_server.kill(process, signal.SIGABRT)
        finally:
            with anyio.CancelScope(shield=True):
                await channel.close()
                await self._wait_for_exit(process)
            self._forget(running, holder)

    async def _fork(self) -> tuple[ForkedProcess, ChildChannel]:
        """Raises ForkRefused, ForkServerLost."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                descriptors = [theirs.fileno(), *(one.fileno() for one in self.owner.listeners)]
                process = await self.fork_server.fork(descriptors)
            except BaseException:
                ours.close()
                raise
        return process, await ChildChannel.from_socket(ours)

    def _receive(self, message: ChildMessage) -> None:
        running = self.current
        if running is None:
            return
        match message:
            case Ready():
                running.ready_at = anyio.current_time()
                self.tried.set()
            case Report():
                running.report = message
                self.counters.update(message.counts)
            case Reloaded():
                running.reloaded.set()
            case ChildFailure():
                running.failure = message.message
        self.owner.receive(self, message)
        if isinstance(message, Report):
            running.reported.set()
            running.reported = anyio.Event()

    def _abort_silent(self, process: ForkedProcess, tasks: TaskGroup, seconds: float) -> None:
        """Send SIGABRT to a process that hangs, so that faulthandler logs its stack."""
        log.error("process.silent", pid=process.pid, process=self.number, seconds=seconds)
        tasks.start_soon(self.fork_server.kill, process, signal.SIGABRT)

    async def _wait_for_exit(self, process: ForkedProcess) -> None:
        with anyio.move_on_after(EXIT_SECONDS) as patience:
            await process.ended.wait()
        if patience.cancelled_caught:
            await self.fork_server.kill(process, signal.SIGKILL)
            with anyio.move_on_after(EXIT_SECONDS):  # it hangs in a system call and ends with it
                await process.ended.wait()

    def _forget(self, running: RunningProcess, holder: InstanceId) -> None:
        """Tell of the end of a process, and let go of what it had."""
        self.current = None
        running.reported.set()
        running.reloaded.set()
        self.counters.child_exited()
        pid, exit_code = running.process.pid, running.process.exit_code
        self.owner.process_ended(self, holder, exit_code)
        if self.owner.draining.is_set() and exit_code == 0:
            log.info("process.ended", pid=pid, process=self.number, exit_code=exit_code)
            return
        lived = 0.0 if running.ready_at is None else anyio.current_time() - running.ready_at
        self.failures = 0 if lived >= STABLE_SECONDS else self.failures + 1
        self.failure = running.failure or (
            f"An answering process ended with exit code {exit_code} before it was ready."
        )
        why = running.failure or None
        log.error("process.ended", pid=pid, process=self.number, exit_code=exit_code, why=why)
