"""Answers the requests of one daemon in processes of their own, which it supervises.

Each process has a slot. One that dies costs its own connections, and nothing else: another one is
forked at once, and its claims are given back. If processes die again and again, the next ones wait.
A process that hangs is ended. If none can start at all, the daemon ends.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count

import anyio
import structlog
from anyio.abc import TaskGroup

from imaged.config import Config
from imaged.core.claim import InstanceId, process_holder
from imaged.core.errors import CatalogError, ImagedError
from imaged.core.policy import Policy
from imaged.daemon.container import ServiceContainer
from imaged.daemon.instance_report import longest_failures
from imaged.daemon.metrics_endpoint import MetricsEndpoint
from imaged.daemon.processes.activity import InstanceActivity
from imaged.daemon.processes.child_link import ChildLink
from imaged.daemon.processes.fork_server import ForkServerLost
from imaged.daemon.processes.forks import Forks
from imaged.daemon.processes.messages import (
    Activity,
    ChildMessage,
    Command,
    DaemonState,
    Instruction,
    MetricsWanted,
    MetricsWritten,
    Reload,
    Report,
    Start,
    TasksChanged,
)
from imaged.daemon.processes.slot import ProcessSlot, RunningProcess

log = structlog.get_logger()

RELOAD_SECONDS = 5.0  # that a reload waits for processes that hang
STATE_SECONDS = 1.0  # between two looks at what processes should know of the daemon
TAKE_BACK_PAUSES = (0.0, 1.0, 15.0)  # seconds; a transaction takes no longer


class AnsweringFailed(ImagedError):
    """No process that answers requests could be started."""


class AnsweringProcesses:
    """Answers requests in processes of their own: as many as ``forks`` is prepared for.

    ``on_failure``: is told why the daemon cannot go on.
    """

    def __init__(
        self,
        forks: Forks,
        services: ServiceContainer,
        config: Callable[[], Config],
        metrics: MetricsEndpoint,
        on_failure: Callable[[ImagedError], None],
    ) -> None:
        self._fork_server, self._counts = forks.server, forks.counts
        self._services = services
        self._config = config
        self._metrics = metrics
        self._on_failure = on_failure
        self._activity = InstanceActivity()
        self.listeners: Sequence[socket.socket] = ()
        self.draining = anyio.Event()
        self._slots = [
            ProcessSlot(number, forks.server, self)
            for number in range(1, forks.counts.processes + 1)
        ]
        self._numbers = count(1)
        self._all_ended = anyio.Event()
        self._state = DaemonState()
        metrics.track_children([slot.counters for slot in self._slots], self.refresh)
        reporter = services.reporter
        reporter.requests = lambda: self._activity.requests
        reporter.failing_parts.append(self._failing_part_seconds)
        reporter.children_troubles = self._troubles

    @property
    def activity(self) -> Activity:
        """What all processes do now, and did since the start of the daemon."""
        return self._activity.total

    @property
    def running(self) -> Sequence[str]:
        """The ids of tasks that run beside requests."""
        return [task for one in self._living() for task in one.report.running]

    async def start(self, tasks: TaskGroup, listeners: list[socket.socket]) -> None:
        """Start all processes; return when each is ready or has failed once.

        Raises AnsweringFailed if all have failed.
        """
        self._tasks, self.listeners = tasks, listeners
        tasks.start_soon(self._watch_fork_server)
        tasks.start_soon(self._keep_all_running)
        tasks.start_soon(self._tell_state_forever)
        for slot in self._slots:
            await slot.tried.wait()
        if not any(one.ready_at for one in self._living()):
            raise AnsweringFailed(self._slots[0].failure)

    def prepare(self, config: Config, policy: Policy) -> None:
        """Do nothing: what the configuration names was read when it was checked."""

    async def apply(self, config: Config) -> None:
        """Send the settings, rules and schema to every process; return when all use them."""
        schema, rules = self._services.images.schema, self._services.policy.replaced
        reload, living = Reload(self._share_of(config), rules, schema), self._living()
        for one in living:
            one.reloaded = anyio.Event()
            one.link.send(reload)
        with anyio.move_on_after(RELOAD_SECONDS):
            for one in living:
                await one.reloaded.wait()

    async def drain(self) -> None:
        """Have every process drain, and wait for their ends."""
        self.draining.set()
        for listener in self.listeners:
            listener.close()  # or clients would connect, and wait for an answer that never comes
        self._send_to_all(Command.DRAIN)
        await self._all_ended.wait()

    def stop_now(self) -> None:
        """Have every process break off what is in flight."""
        self._send_to_all(Command.STOP_NOW)

    async def check(self) -> None:
        """Return when every process has reported, or ended."""
        asked = [(one, one.reported) for one in self._living() if one.ready_at]
        for one, _ in asked:
            one.link.send(Command.REPORT)
        for _, reported in asked:
            await reported.wait()

    async def refresh(self, seconds: float) -> None:
        """Wait for the latest counts, but no longer than that."""
        with anyio.move_on_after(seconds):
            await self.check()

    def new_holder(self) -> InstanceId:
        """Return a name for the claims of the next process."""
        return process_holder(self._services.instance, next(self._numbers))

    def first_instructions(self, slot: ProcessSlot, holder: InstanceId) -> Iterator[Instruction]:
        """What a process is told at its start: all that is the same for each of them."""
        services, config = self._services, self._config()
        yield Start(
            self._share_of(config),
            holder,
            services.policy.replaced,
            services.images.schema,
            slot.number,
            runs_brief_tasks="tasks" in config.daemon.roles,
        )
        yield self._state

    def receive(self, slot: ProcessSlot, message: ChildMessage) -> None:
        """Act on a message of a process."""
        match message:
            case Report():
                self._activity.update(slot.number, message.activity)
            case TasksChanged():
                self._services.runner.wakeup.wake()
            case MetricsWanted() if slot.current is not None:
                self._tasks.start_soon(self._write_metrics, slot.current.link, message)

    def process_ended(self, slot: ProcessSlot, holder: InstanceId, exit_code: int | None) -> None:
        """Let go of what a process had; if it died, also of its claims."""
        self._counts.clear(slot.number - 1)
        self._activity.process_ended(slot.number)
        if exit_code != 0:
            self._metrics.instruments.process_deaths.inc()
            self._tasks.start_soon(self._take_back, holder)

    def _living(self) -> list[RunningProcess]:
        return [slot.current for slot in self._slots if slot.current is not None]

    def _send_to_all(self, instruction: Instruction) -> None:
        for slot in self._slots:
            slot.send(instruction)

    def _share_of(self, config: Config) -> Config:
        return share_of(config, len(self._slots))

    def _failing_part_seconds(self) -> Mapping[str, float]:
        return longest_failures(one.report.failing_part_seconds for one in self._living())

    def _troubles(self) -> Sequence[str]:
        return [*dict.fromkeys(line for one in self._living() for line in one.report.troubles)]

    async def _watch_fork_server(self) -> None:
        await self._fork_server.run()
        self._on_failure(ForkServerLost())

    async def _keep_all_running(self) -> None:
        async with anyio.create_task_group() as slots:
            for slot in self._slots:
                slots.start_soon(slot.keep_running)
        self._all_ended.set()

    async def _write_metrics(self, link: ChildLink, wanted: MetricsWanted) -> None:
        page = await self._metrics.write_page(wanted.accept)
        link.send(MetricsWritten(wanted.number, *page))

    async def _take_back(self, holder: InstanceId) -> None:
        """Give back the claims of a process that died. A transaction that it had sent may be
        committed a moment later, so there is more than one look; afterwards, leases run out.
        """
        for pause in TAKE_BACK_PAUSES:
            await anyio.sleep(pause)
            try:
                await self._services.reclaimer.take_back_of(holder)
            except CatalogError as error:
                log.debug("claim.give_back_failed", error=str(error))

    async def _tell_state_forever(self) -> None:
        """Send what only the daemon knows, when it changes."""
        health = self._services.health
        while True:
            state = DaemonState(health.is_reload_rejected, tuple(health.degraded_parts()))
            if state != self._state:
                self._state = state
                self._send_to_all(state)
            await anyio.sleep(STATE_SECONDS)


def share_of(config: Config, processes: int) -> Config:
    """The configuration of one of the processes that answer: limits of memory are divided."""
    uploads = config.uploads.model_copy(
        update={"transfer_budget": config.uploads.transfer_budget // processes}
    )
    return replace(config.with_roles(("api",)), uploads=uploads)
