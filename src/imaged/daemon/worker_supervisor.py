"""Runs tasks in a separate worker process, so that requests do not wait for them.

It takes the place of TaskRunner in the daemon. It polls for waiting tasks, and keeps a worker
while there is work. A killed or hanging worker loses nothing: the leases of its tasks expire, and
the next worker takes them over.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from math import inf

import anyio
import structlog
from anyio.abc import Process

from imaged.config import Config
from imaged.core.claim import InstanceId
from imaged.core.errors import ImagedError
from imaged.core.retry_policy import RetryPolicy
from imaged.daemon.processes.channel import CHANNEL_SEND_SECONDS, ChildChannel
from imaged.daemon.processes.child_link import ChildLink
from imaged.daemon.processes.messages import (
    ChildFailure,
    ChildMessage,
    Command,
    Instruction,
    Reload,
    Report,
    Start,
)
from imaged.metrics.child_counters import ChildCounters
from imaged.services.periodic import run_periodically
from imaged.services.tasks.runner import TaskRunner

log = structlog.get_logger()

KILL_SECONDS = 10.0
#: Between failed starts of the worker; a start costs most of a CPU second.
RESTARTS = RetryPolicy(first_pause=timedelta(seconds=1), longest_pause=timedelta(minutes=1))
ONE_DAY = timedelta(days=1)
OWN_VERSION = version("imaged")  # of this process; an upgrade may replace the installed one
WORKER_MODULE = "imaged.daemon.worker_process"
PYTHON_OPTIONS = ("-P",)  # imports nothing from the working directory


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimeouts:
    """How long a daemon waits for a worker."""

    report_seconds: float = 120.0  # reports are due every second; as long as WatchdogSec=
    send_seconds: float = CHANNEL_SEND_SECONDS
    exit_seconds: float = 120.0  # a transaction to release the tasks; closing of disks and buckets
    restarts: RetryPolicy = RESTARTS


class WorkerStartFailed(ImagedError):
    """A worker could not be started, or failed before it ran tasks."""


class WorkerCrashed(ImagedError):
    """A worker exited unexpectedly."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(
            f"The worker process ended with exit code {exit_code}. Another one takes over its "
            "tasks when their leases have expired."
        )


class WorkerSupervisor:
    """Starts, instructs and watches the worker process of one daemon.

    ``runner``: tells whether work waits, and runs brief tasks itself. ``worker_counters``: gets
    the worker's counts. ``timeouts`` may be replaced. ``module``: the program of the worker.
    """

    def __init__(
        self,
        runner: TaskRunner,
        worker_counters: ChildCounters,
        instance: InstanceId,
        config: Callable[[], Config],
        *,
        module: str = WORKER_MODULE,
    ) -> None:
        self.timeouts = WorkerTimeouts()
        self._module = module
        self._runner = runner
        self._worker_counters = worker_counters
        self._instance = instance
        self._config = config
        self._link: ChildLink | None = None  # to the running worker
        self._report = Report()
        self._reported = anyio.Event()
        self._accepts_tasks = True
        self._failed_starts = 0
        self._next_start_at = -inf

    @property
    def running(self) -> Collection[str]:
        """The ids of running tasks."""
        return [*self._runner.running, *self._report.running]

    async def serve(self) -> None:
        """Run tasks until cancelled and until running tasks are released."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._runner.serve_brief_only)
            await run_periodically(
                "tasks",
                self._run_worker_if_due,
                lambda: self._config().tasks.poll_every,
                self._runner.wakeup,
            )

    def stop_claiming(self) -> None:
        """Start no new tasks."""
        self._accepts_tasks = False
        self._runner.stop_claiming()
        self._send(Command.DRAIN)

    def reload(self) -> None:
        """Send the current configuration to the worker."""
        runner = self._runner
        self._send(Reload(self._worker_config(), runner.policy.replaced, runner.schema))

    async def refresh(self, seconds: float) -> None:
        """Wait for the worker's latest counts, but no longer than that."""
        if self._send(Command.REPORT):
            reported = self._reported
            with anyio.move_on_after(seconds):
                await reported.wait()

    async def _run_worker_if_due(self) -> None:
        """Raises WorkerStartFailed, WorkerCrashed, CatalogError."""
        if not await self._runner.is_due():
            return
        await anyio.sleep_until(self._next_start_at)
        if self._accepts_tasks:
            self._failed_starts += 1  # until it reports
            delay = self.timeouts.restarts.pause(self._failed_starts)
            self._next_start_at = anyio.current_time() + delay.total_seconds()
            await self._run_worker()
            self._runner.wakeup.wake()  # a task may have arrived after it exited

    async def _run_worker(self) -> None:
        """Run one worker until it ends. Raises WorkerStartFailed, WorkerCrashed."""
        with anyio.CancelScope(shield=True):
            worker, channel = await _spawn_worker(self._module, self.timeouts.send_seconds)
        log.info("worker.started", pid=worker.pid)
        failure = None
        try:
            failure = await self._supervise(channel, worker)
        finally:
            with anyio.CancelScope(shield=True):
                await channel.close()
                exit_code = await _wait_for_exit(worker, self.timeouts.exit_seconds)
            self._worker_counters.child_exited()
            self._report = Report()
            log.info("worker.ended", pid=worker.pid, exit_code=exit_code)
        if failure is not None:
            raise WorkerStartFailed(failure.message)
        if exit_code:
            raise WorkerCrashed(exit_code)

    async def _supervise(self, channel: ChildChannel, worker: Process) -> ChildFailure | None:
        """Exchange messages until the channel closes; return why the worker failed, if it did."""
        failure: ChildFailure | None = None

        def receive(message: ChildMessage) -> None:
            nonlocal failure
            match message:
                case Report():
                    self._update(message)
                case ChildFailure():
                    failure = message

        link = self._link = ChildLink(
            channel,
            receive,
            partial(_abort_silent, worker),
            self.timeouts.report_seconds,
            self.timeouts.send_seconds,
        )
        async with anyio.create_task_group() as tasks:
            rules, schema = self._runner.policy.replaced, self._runner.schema
            self._send(Start(self._worker_config(), self._instance, rules, schema))
            if not self._accepts_tasks:
                self._send(Command.DRAIN)
            tasks.start_soon(self._forward_wakeups)
            try:
                await link.run()
            finally:
                self._link = None
                tasks.cancel_scope.cancel()
        return failure

    def _update(self, report: Report) -> None:
        self._report = report
        self._failed_starts, self._next_start_at = 0, -inf
        self._worker_counters.update(report.counts)
        self._reported.set()
        self._reported = anyio.Event()

    async def _forward_wakeups(self) -> None:
        while True:
            await self._runner.wakeup.pause(ONE_DAY)
            self._send(Command.CHECK_TASKS)

    def _send(self, instruction: Instruction) -> bool:
        """Queue an instruction; False if no worker runs."""
        if self._link is None:
            return False
        self._link.send(instruction)
        return True

    def _worker_config(self) -> Config:
        return self._config().with_roles(("tasks",))


def _abort_silent(worker: Process, seconds: float) -> None:
    """Send SIGABRT to a hanging worker, so that faulthandler logs its stack."""
    log.error("process.silent", pid=worker.pid, process="worker", seconds=seconds)
    with suppress(ProcessLookupError):
        worker.send_signal(signal.SIGABRT)


async def _spawn_worker(module: str, send_seconds: float) -> tuple[Process, ChildChannel]:
    """Raises WorkerStartFailed."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            worker = await anyio.open_process(
                [sys.executable, *PYTHON_OPTIONS, "-m", module, OWN_VERSION],
                stdin=theirs.fileno(),
                stdout=None,
                stderr=None,
            )
        except OSError as error:
            ours.close()
            raise WorkerStartFailed(
                f"The worker process cannot be started: {error.strerror}."
            ) from error
    return worker, await ChildChannel.from_socket(ours, send_seconds)


async def _wait_for_exit(worker: Process, exit_seconds: float) -> int:
    with anyio.move_on_after(exit_seconds):
        return await worker.wait()
    worker.kill()
    with anyio.move_on_after(KILL_SECONDS):
        return await worker.wait()
    return -signal.SIGKILL  # it hangs in a system call and ends with it
