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
from imaged.daemon.orders import (
    UNREAD_SECONDS,
    Begin,
    Call,
    Line,
    Mailbox,
    Order,
    Reload,
    Report,
    Trouble,
)
from imaged.metrics.relay import Relay
from imaged.services.loops import repeat
from imaged.services.tasks.runner import TaskRunner

log = structlog.get_logger()

SILENT_SECONDS = 120.0  # a report is due every second; as patient as the service manager is with us
ENDING_SECONDS = (
    120.0  # giving back takes one transaction, and closing what a disk or a bucket takes
)
KILLED_SECONDS = 10.0
REPORT_SECONDS = 0.5  # so long do figures wait for the latest
LONGEST_WAIT_SECONDS = 60.0  # to start costs most of a second of a processor
A_DAY = timedelta(days=1)
VERSION = version("imaged")  # ours: what is installed may be another one by and by
WORKER = "imaged.daemon.worker"
SAFELY = ("-P",)  # nothing is imported from the folder that we happen to be in


class CannotWork(ImagedError):
    """A worker could not be started, or did not get as far as to work."""


class WorkerLost(ImagedError):
    """A worker ended that should not have."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(
            f"The process that worked on tasks ended with exit code {exit_code}. Another one goes "
            "on with them, when their leases have run out."
        )


class Workshop:
    """``runner``: says whether there is work, and does what is brief. ``relay``: gets what workers
    count.
    """

    def __init__(
        self,
        runner: TaskRunner,
        relay: Relay,
        instance: InstanceId,
        config: Callable[[], Config],
    ) -> None:
        self._runner = runner
        self._relay = relay
        self._instance = instance
        self._config = config
        self._orders: Mailbox | None = None  # for the worker that there is
        self._report = Report()
        self._reported = anyio.Event()
        self._picks = True
        self._wait_seconds = 0.0  # from a worker that was none to the next
        self._again_at = -inf

    @property
    def running(self) -> Collection[str]:
        """The ids of the tasks that are being worked on."""
        return [*self._runner.running, *self._report.running]

    async def serve(self) -> None:
        """Have tasks done until it is cancelled, and until what is under way was given back."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._runner.attend)
            await repeat(
                "tasks",
                self._employ_if_due,
                lambda: self._config().tasks.poll_every,
                self._runner.bell,
            )

    def stop_picking(self) -> None:
        """Begin nothing new."""
        self._picks = False
        self._runner.stop_picking()
        self._tell(Call.FINISH)

    def reload(self) -> None:
        """Go on with the settings that the configuration has now."""
        self._tell(Reload(self._config_of_worker()))

    async def refresh(self) -> None:
        """Have the latest counts, if they come soon."""
        if self._tell(Call.REPORT):
            reported = self._reported
            with anyio.move_on_after(REPORT_SECONDS):
                await reported.wait()

    async def _employ_if_due(self) -> None:
        """Raises CannotWork, WorkerLost, CatalogError."""
        if not await self._runner.is_due():
            return
        await anyio.sleep_until(self._again_at)
        if self._picks:
            self._wait_seconds = next_wait(self._wait_seconds)  # a report makes it 0 again
            self._again_at = anyio.current_time() + self._wait_seconds
            await self._employ()
            self._runner.bell.ring()  # perhaps something came in when it had just left

    async def _employ(self) -> None:
        """Start a worker, and be its daemon until it ends."""
        with anyio.CancelScope(shield=True):
            worker, line = await _start()
        log.info("worker.started", pid=worker.pid)
        trouble = None
        try:
            trouble = await self._direct(line, worker)
        finally:
            with anyio.CancelScope(shield=True):
                await line.close()
                exit_code = await _end_of(worker)
            self._relay.ended()
            self._report = Report()
            log.info("worker.ended", pid=worker.pid, exit_code=exit_code)
        if trouble is not None:
            raise CannotWork(trouble.sentence)
        if exit_code:
            raise WorkerLost(exit_code)

    async def _direct(self, line: Line, worker: Process) -> Trouble | None:
        async with anyio.create_task_group() as tasks:
            orders = self._orders = Mailbox()
            self._tell(Begin(self._config_of_worker(), self._instance))
            if not self._picks:
                self._tell(Call.FINISH)
            tasks.start_soon(_pass_on, orders, line, worker)
            tasks.start_soon(self._pass_rings_on)
            try:
                trouble = await self._listen(line, worker)
            finally:
                self._orders = None
                tasks.cancel_scope.cancel()
        return trouble

    async def _listen(self, line: Line, worker: Process) -> Trouble | None:
        """Until it says no more; what kept it from working, if anything did."""
        trouble: Trouble | None = None
        while True:
            with anyio.move_on_after(SILENT_SECONDS) as patience:
                news = await line.next_news()
            if patience.cancelled_caught:
                log.error("worker.silent", pid=worker.pid, seconds=SILENT_SECONDS)
                _abort(worker)
                return None
            match news:
                case Report():
                    self._report = news
                    self._wait_seconds, self._again_at = 0.0, -inf
                    self._relay.update(news.counts)
                    self._reported.set()
                    self._reported = anyio.Event()
                case Trouble():
                    trouble = news
                case None:
                    return trouble

    async def _pass_rings_on(self) -> None:
        while True:
            await self._runner.bell.pause(A_DAY)
            self._tell(Call.LOOK)

    def _tell(self, order: Order) -> bool:
        """Tell the worker, if there is one."""
        if self._orders is None:
            return False
        self._orders.put(order)
        return True

    def _config_of_worker(self) -> Config:
        return self._config().with_roles(("tasks",))


def next_wait(wait_seconds: float) -> float:
    """How long to wait when that was in vain, too."""
    return min(max(1.0, 2 * wait_seconds), LONGEST_WAIT_SECONDS)


async def _pass_on(orders: Mailbox, line: Line, worker: Process) -> None:
    """Give the worker its orders, for as long as it reads."""
    while await line.give(await orders.take()):
        pass
    log.error("worker.silent", pid=worker.pid, seconds=UNREAD_SECONDS)
    _abort(worker)


def _abort(worker: Process) -> None:
    """End one that hangs, so that the log gets where it was; one that has ended is fine."""
    with suppress(ProcessLookupError):
        worker.send_signal(signal.SIGABRT)


async def _start() -> tuple[Process, Line]:
    """Raises CannotWork."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            worker = await anyio.open_process(
                [sys.executable, *SAFELY, "-m", WORKER, VERSION],
                stdin=theirs.fileno(),
                stdout=None,
                stderr=None,
            )
        except OSError as error:
            ours.close()
            raise CannotWork(
                f"The process that is to work on tasks cannot be started: {error.strerror}."
            ) from error
    return worker, await Line.adopt(ours)


async def _end_of(worker: Process) -> int:
    with anyio.move_on_after(ENDING_SECONDS):
        return await worker.wait()
    worker.kill()
    with anyio.move_on_after(KILLED_SECONDS):
        return await worker.wait()
    return -signal.SIGKILL  # it hangs in a call of the system, and ends with that
