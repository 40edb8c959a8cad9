"""A process that answers requests for a daemon, beside others on the same sockets.

It is forked from the fork server, has drivers of its own, and belongs to the daemon's instance: the
daemon publishes the counts of all, and serves ``/metrics`` for them. Its claims bear a name of
their own, so that the daemon can give them back if it dies. It ends when it has drained, and when
the channel to the daemon closes for any reason; then at once, without waiting for requests.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import structlog
from starlette.types import ASGIApp

from imaged.api.authenticator import BearerToken
from imaged.api.monitoring import MetricsHandler
from imaged.config import Config
from imaged.config.types import API_ADDRESSES
from imaged.core.errors import ImagedError
from imaged.core.policy import Policy
from imaged.daemon.background_jobs import SENT_INTERVAL
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import open_drivers
from imaged.daemon.keystone import reload_secrets
from imaged.daemon.process_counters import read_counters
from imaged.daemon.processes.activity import activity_of
from imaged.daemon.processes.channel import ChildChannel
from imaged.daemon.processes.fork_server import DAEMON_SIGNALS, ignore_signal
from imaged.daemon.processes.messages import (
    ChildFailure,
    Command,
    DaemonState,
    Instruction,
    MetricsWanted,
    MetricsWritten,
    Ready,
    Reload,
    Reloaded,
    Report,
    Start,
    TasksChanged,
)
from imaged.daemon.settings import connection_settings
from imaged.daemon.web_app import API_HOOKS, WebApp
from imaged.metrics.child_counters import nonzero_samples
from imaged.metrics.instruments import Instruments
from imaged.server.connection_counts import SharedCounts, SharedSlot
from imaged.server.server import HttpServer
from imaged.services.periodic import Wakeup, run_periodically
from imaged.telemetry import configure_log

log = structlog.get_logger()

REPORT_INTERVAL = timedelta(seconds=1)
ONE_DAY = timedelta(days=1)
METRICS_SECONDS = 10.0  # that a client waits for the daemon's page


def main(counts: SharedCounts, descriptors: Sequence[int]) -> int:
    """Answer requests: the first descriptor is the channel to the daemon, the others listen."""
    for one in DAEMON_SIGNALS:
        signal.signal(one, ignore_signal)
    end, *listeners = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for listener in listeners:
        listener.setblocking(False)  # noqa: FBT003 - socket's API
    process = AnsweringProcess(counts, listeners)
    anyio.run(process.run, end, backend="asyncio", backend_options={"use_uvloop": True})
    return 0


@dataclass(eq=False)
class MetricsOfDaemon:
    """The metrics as this process serves them: its own are counted here, the page is the daemon's.

    Raises TokenFileInvalid.
    """

    config: Config
    instruments: Instruments
    channel: ChildChannel
    _asked: dict[int, anyio.Event] = field(default_factory=dict, init=False)
    _answers: dict[int, MetricsWritten] = field(default_factory=dict, init=False)
    _number: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        file = self.config.metrics.token_file
        self._token = BearerToken(Path(file)) if file else None

    @property
    def for_api(self) -> MetricsHandler | None:
        """The handler for the API's addresses; None if they do not serve metrics."""
        if API_ADDRESSES not in self.config.metrics.bind:
            return None
        return MetricsHandler(self._write, self._token)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return the application with its requests counted."""
        return self.instruments.requests.wrap(app)

    def apply(self, config: Config) -> None:
        """Reload the token. Raises TokenFileInvalid."""
        if self._token is not None and config.metrics.token_file:
            self._token.reload(Path(config.metrics.token_file))

    def answered(self, page: MetricsWritten) -> None:
        """Pass on a page of the daemon."""
        if page.number in self._asked:
            self._answers[page.number] = page
            self._asked[page.number].set()

    async def _write(self, accept: str) -> tuple[bytes, str]:
        """Raises TimeoutError if the daemon hangs."""
        self._number += 1
        number, answered = self._number, anyio.Event()
        self._asked[number] = answered
        try:
            await self.channel.send_report(MetricsWanted(number, accept))
            with anyio.fail_after(METRICS_SECONDS):
                await answered.wait()
            page = self._answers[number]
        finally:
            del self._asked[number]
            self._answers.pop(number, None)
        return page.body, page.media_type


class AnsweringProcess:
    """Answers requests until it is drained, or its daemon is gone."""

    def __init__(self, counts: SharedCounts, listeners: list[socket.socket]) -> None:
        self._counts = counts
        self._listeners = listeners
        self._state = DaemonState()
        self._report_now = Wakeup()

    async def run(self, end: socket.socket) -> None:
        """Answer requests as the daemon at the other end of this socket instructs."""
        self._channel = channel = await ChildChannel.from_socket(end)
        try:
            start = await channel.next_instruction()
            if isinstance(start, Start):
                await self._answer(start)
        except ImagedError as error:
            await channel.send_report(ChildFailure(str(error)))
        await channel.close()

    async def _answer(self, start: Start) -> None:
        """Raises ImagedError if it cannot start."""
        config, self._runs_brief_tasks = start.config, start.runs_brief_tasks
        self._config = config
        configure_log(config.log.level, config.log.format)
        instruments = Instruments(stores=list(config.stores.by_name), process=f"api-{start.slot}")
        opened = open_drivers(config, instruments, is_child=True, processes=self._counts.processes)
        async with opened as drivers:
            self._services = services = ServiceContainer(
                drivers, config, instruments, start.holder, Policy(start.rules)
            )
            services.use_schema(start.schema)
            self._tell_state_of_daemon()
            self._metrics = MetricsOfDaemon(config, instruments, self._channel)
            self._web_app = WebApp(services, config, self._metrics)
            self._instruments = instruments
            self._server = HttpServer(
                self._web_app.app,
                connection_settings(config),
                API_HOOKS,
                counts=SharedSlot(self._counts, start.slot - 1),
            )
            instruments.register_counters(lambda: read_counters(drivers, services, self._server))
            instruments.register_loop_lag()
            await self._serve()
            await services.sent_downloads.close()
            await self._channel.send_report(self._report())

    async def _serve(self) -> None:
        """Answer until the server has drained."""
        services, server = self._services, self._server
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(services.claims.renew_forever)
            if self._runs_brief_tasks:
                tasks.start_soon(services.runner.serve_brief_only)
            write_sent = partial(
                run_periodically,
                "sent_downloads",
                services.sent_downloads.write,
                lambda: SENT_INTERVAL,
            )
            tasks.start_soon(write_sent)
            tasks.start_soon(self._instruments.loop.run)
            tasks.start_soon(server.serve, self._listeners)
            await server.ready.wait()
            await self._channel.send_report(Ready())
            tasks.start_soon(self._report_forever)
            tasks.start_soon(self._forward_wakeups)
            tasks.start_soon(self._follow_instructions)
            await server.drained.wait()
            tasks.cancel_scope.cancel()

    async def _follow_instructions(self) -> None:
        while (instruction := await self._channel.next_instruction()) is not None:
            self._follow(instruction)
            if isinstance(instruction, Reload):
                await self._channel.send_report(Reloaded())
        self._drain(timedelta(0))  # the daemon is gone
        self._server.stop_now()

    def _follow(self, instruction: Instruction) -> None:
        match instruction:
            case Command.REPORT:
                self._report_now.wake()
            case Command.DRAIN:
                self._drain(self._config.daemon.drain_timeout)
            case Command.STOP_NOW:
                self._server.stop_now()
            case DaemonState():
                self._state = instruction
                self._services.health.is_reload_rejected = instruction.is_reload_rejected
            case MetricsWritten():
                self._metrics.answered(instruction)
            case Reload():
                self._reload(instruction)

    def _drain(self, timeout: timedelta) -> None:
        self._services.runner.stop_claiming()
        self._web_app.set_draining()
        self._server.drain(timeout)

    def _reload(self, given: Reload) -> None:
        """Apply what the daemon has found valid."""
        config, policy = given.config, Policy(given.rules)
        try:
            self._web_app.apply(config, policy)
            self._metrics.apply(config)
            reload_secrets(self._services.limits, config)
        except ImagedError as error:  # a file was changed since the daemon has read it
            log.error("config.rejected", why=str(error))  # noqa: TRY400 - expected
            return
        self._config = config
        self._services.apply(config, policy)
        self._services.use_schema(given.schema)
        self._server.connections.settings = connection_settings(config)
        configure_log(config.log.level, config.log.format)

    def _tell_state_of_daemon(self) -> None:
        health = self._services.health
        own_parts = health.degraded_parts
        health.degraded_parts = lambda: dict.fromkeys([*self._state.degraded_parts, *own_parts()])

    async def _forward_wakeups(self) -> None:
        while True:
            await self._services.runner.wakeup.pause(ONE_DAY)
            await self._channel.send_report(TasksChanged())

    async def _report_forever(self) -> None:
        while True:
            await self._channel.send_report(self._report())
            await self._report_now.pause(REPORT_INTERVAL)

    def _report(self) -> Report:
        services = self._services
        return Report(
            running=list(services.runner.running),
            counts=nonzero_samples(self._instruments.registry),
            activity=activity_of(
                services.traffic, self._instruments.requests.counts, self._server.in_flight
            ),
            failing_part_seconds=services.reporter.failing_part_seconds(),
            troubles=services.troubles,
        )
