"""Has tasks worked on in a process of their own, so that whoever asks does not wait for them.

Stands where the runner stands in a process that only works. It looks whether a task waits, and
employs a worker for as long as there is something to do. A worker that was killed, or that hangs,
is no loss: the leases of its tasks run out, and the next worker has them.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta
from importlib.metadata import version
from math import inf

import anyio
import structlog
from anyio.abc import Process

from imaged.config import Config
from imaged.core.claim import InstanceId
from imaged.core.errors import ImagedError
from imaged.daemon.worker_channel import (
    CHANNEL_SEND_SECONDS,
    CoalescingQueue,
    Command,
    Instruction,
    Reload,
    Report,
    Start,
    WorkerChannel,
    WorkerFailure,
)
from imaged.metrics.worker_counters import WorkerCounters
from imaged.services.periodic import run_periodically
from imaged.services.tasks.runner import TaskRunner

log = structlog.get_logger()

REPORT_TIMEOUT_SECONDS = (
    120.0  # a report is due every second; as patient as the service manager is with us
)
EXIT_SECONDS = 120.0  # giving back takes one transaction, and closing what a disk or a bucket takes
KILL_SECONDS = 10.0
REFRESH_SECONDS = 0.5  # so long do figures wait for the latest
MAX_RESTART_DELAY_SECONDS = 60.0  # to start costs most of a second of a processor
ONE_DAY = timedelta(days=1)
OWN_VERSION = version("imaged")  # ours: what is installed may be another one by and by
WORKER_MODULE = "imaged.daemon.worker_process"
PYTHON_OPTIONS = ("-P",)  # nothing is imported from the folder that we happen to be in


class WorkerStartFailed(ImagedError):
    """A worker could not be started, or did not get as far as to work."""


class WorkerCrashed(ImagedError):
    """A worker ended that should not have."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(
            f"The process that worked on tasks ended with exit code {exit_code}. Another one goes "
            "on with them, when their leases have run out."
        )


class WorkerSupervisor:
    """``runner``: says whether there is work, and does what is brief. ``worker_counters``: gets
    what workers count.
    """

    def __init__(
        self,
        runner: TaskRunner,
        worker_counters: WorkerCounters,
        instance: InstanceId,
        config: Callable[[], Config],
    ) -> None:
        self._runner = runner
        self._worker_counters = worker_counters
        self._instance = instance
        self._config = config
        self._outbox: CoalescingQueue | None = None  # for the worker that there is
        self._report = Report()
        self._reported = anyio.Event()
        self._accepts_tasks = True
        self._restart_delay_seconds = 0.0  # from a worker that was none to the next
        self._next_start_at = -inf

    @property
    def running(self) -> Collection[str]:
        """The ids of the tasks that are being worked on."""
        return [*self._runner.running, *self._report.running]

    async def serve(self) -> None:
        """Have tasks done until it is cancelled, and until what is under way was given back."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._runner.serve_brief_only)
            await run_periodically(
                "tasks",
                self._run_worker_if_due,
                lambda: self._config().tasks.poll_every,
                self._runner.wakeup,
            )

    def stop_claiming(self) -> None:
        """Start nothing new."""
        self._accepts_tasks = False
        self._runner.stop_claiming()
        self._send(Command.DRAIN)

    def reload(self) -> None:
        """Go on with the settings that the configuration has now."""
        self._send(Reload(self._worker_config()))

    async def refresh(self) -> None:
        """Have the latest counts, if they come soon."""
        if self._send(Command.REPORT):
            reported = self._reported
            with anyio.move_on_after(REFRESH_SECONDS):
                await reported.wait()

    async def _run_worker_if_due(self) -> None:
        """Raises WorkerStartFailed, WorkerCrashed, CatalogError."""
        if not await self._runner.is_due():
            return
        await anyio.sleep_until(self._next_start_at)
        if self._accepts_tasks:
            self._restart_delay_seconds = next_restart_delay(
                self._restart_delay_seconds
            )  # a report makes it 0 again
            self._next_start_at = anyio.current_time() + self._restart_delay_seconds
            await self._run_worker()
            self._runner.wakeup.wake()  # perhaps something came in when it had just left

    async def _run_worker(self) -> None:
        """Start a worker, and be its daemon until it ends."""
        with anyio.CancelScope(shield=True):
            worker, line = await _spawn_worker()
        log.info("worker.started", pid=worker.pid)
        trouble = None
        try:
            trouble = await self._supervise(line, worker)
        finally:
            with anyio.CancelScope(shield=True):
                await line.close()
                exit_code = await _wait_for_exit(worker)
            self._worker_counters.worker_exited()
            self._report = Report()
            log.info("worker.ended", pid=worker.pid, exit_code=exit_code)
        if trouble is not None:
            raise WorkerStartFailed(trouble.message)
        if exit_code:
            raise WorkerCrashed(exit_code)

    async def _supervise(self, line: WorkerChannel, worker: Process) -> WorkerFailure | None:
        async with anyio.create_task_group() as tasks:
            orders = self._outbox = CoalescingQueue()
            self._send(Start(self._worker_config(), self._instance))
            if not self._accepts_tasks:
                self._send(Command.DRAIN)
            tasks.start_soon(_forward_instructions, orders, line, worker)
            tasks.start_soon(self._forward_wakeups)
            try:
                trouble = await self._receive_reports(line, worker)
            finally:
                self._outbox = None
                tasks.cancel_scope.cancel()
        return trouble

    async def _receive_reports(self, line: WorkerChannel, worker: Process) -> WorkerFailure | None:
        """Until it says no more; what kept it from working, if anything did."""
        trouble: WorkerFailure | None = None
        while True:
            with anyio.move_on_after(REPORT_TIMEOUT_SECONDS) as patience:
                news = await line.next_report()
            if patience.cancelled_caught:
                log.error("worker.silent", pid=worker.pid, seconds=REPORT_TIMEOUT_SECONDS)
                _abort(worker)
                return None
            match news:
                case Report():
                    self._report = news
                    self._restart_delay_seconds, self._next_start_at = 0.0, -inf
                    self._worker_counters.update(news.counts)
                    self._reported.set()
                    self._reported = anyio.Event()
                case WorkerFailure():
                    trouble = news
                case None:
                    return trouble

    async def _forward_wakeups(self) -> None:
        while True:
            await self._runner.wakeup.pause(ONE_DAY)
            self._send(Command.CHECK_TASKS)

    def _send(self, order: Instruction) -> bool:
        """Tell the worker, if there is one."""
        if self._outbox is None:
            return False
        self._outbox.put(order)
        return True

    def _worker_config(self) -> Config:
        return self._config().with_roles(("tasks",))


def next_restart_delay(wait_seconds: float) -> float:
    """How long to wait when that was in vain, too."""
    return min(max(1.0, 2 * wait_seconds), MAX_RESTART_DELAY_SECONDS)


async def _forward_instructions(
    orders: CoalescingQueue, line: WorkerChannel, worker: Process
) -> None:
    """Give the worker its orders, for as long as it reads."""
    while await line.send_instruction(await orders.get()):
        pass
    log.error("worker.silent", pid=worker.pid, seconds=CHANNEL_SEND_SECONDS)
    _abort(worker)


def _abort(worker: Process) -> None:
    """End one that hangs, so that the log gets where it was; one that has ended is fine."""
    with suppress(ProcessLookupError):
        worker.send_signal(signal.SIGABRT)


async def _spawn_worker() -> tuple[Process, WorkerChannel]:
    """Raises WorkerStartFailed."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            worker = await anyio.open_process(
                [sys.executable, *PYTHON_OPTIONS, "-m", WORKER_MODULE, OWN_VERSION],
                stdin=theirs.fileno(),
                stdout=None,
                stderr=None,
            )
        except OSError as error:
            ours.close()
            raise WorkerStartFailed(
                f"The process that is to work on tasks cannot be started: {error.strerror}."
            ) from error
    return worker, await WorkerChannel.from_socket(ours)


async def _wait_for_exit(worker: Process) -> int:
    with anyio.move_on_after(EXIT_SECONDS):
        return await worker.wait()
    worker.kill()
    with anyio.move_on_after(KILL_SECONDS):
        return await worker.wait()
    return -signal.SIGKILL  # it hangs in a call of the system, and ends with that
