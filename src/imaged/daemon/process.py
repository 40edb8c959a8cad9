"""The life of one process: begin, work, heed signals, drain, end.

Everything runs in one task group. The heartbeats are the last to end: while a transfer is finished
or given back, its lease has to hold, and the instance is there.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from imaged.catalogs.opening import shown
from imaged.config import Config, ConfigInvalid
from imaged.core.errors import ImagedError
from imaged.daemon.activation import HandedOver
from imaged.daemon.assembly import Services
from imaged.daemon.bulletin import Bulletin
from imaged.daemon.duties import Duties
from imaged.daemon.front import Front
from imaged.daemon.listeners import api_listeners, name_of
from imaged.daemon.observatory import Observatory
from imaged.daemon.parts import open_parts
from imaged.daemon.reload import Changes, compare
from imaged.daemon.server import ApiServer
from imaged.daemon.settings import connection_settings
from imaged.daemon.watchdog import keep_alive
from imaged.daemon.workshop import Workshop
from imaged.services.loops import repeat
from imaged.services.tasks.runner import TaskRunner
from imaged.supervision import Supervision
from imaged.telemetry import configure_log

log = structlog.get_logger()


class Daemon:
    """``imaged serve``; with one role alone, ``imaged scrub`` or ``imaged work``."""

    def __init__(
        self,
        config: Config,
        read_config: Callable[[], Config],
        supervision: Supervision,
        handed_over: HandedOver,
    ) -> None:
        self._config = config
        self._read_config = read_config
        self._supervision = supervision
        self._handed_over = handed_over
        self._stop = anyio.Event()
        self._observatory = Observatory(config)
        self._front: Front | None = None
        self._server: ApiServer | None = None

    async def run(self) -> None:
        """Work until a signal ends it. Raises ImagedError where it cannot begin."""
        instruments = self._observatory.instruments
        async with open_parts(self._config, instruments) as parts:
            self._services = Services(parts, self._config, instruments)
            self._observatory.observe(parts, self._services)
            self._work = self._open_workshop()
            self._duties = Duties(self._services, lambda: self._config)
            self._bulletin = Bulletin(
                self._supervision,
                parts.catalog,
                self._services.traffic,
                lambda: self._work.running,
                roles=self._config.daemon.roles,
                next_scrub=lambda: self._duties.next_in("scrubber"),
            )
            if "api" in self._config.daemon.roles:
                self._front = Front(self._services, self._config, self._observatory)
            with self._listening() as listeners, self._observatory.listening():
                async with anyio.create_task_group() as tasks:
                    await tasks.start(self._heed_signals)
                    self._begin_heartbeats(tasks)
                    tasks.start_soon(self._observatory.run)
                    self._begin_duties(tasks)
                    await self._begin_answering(tasks, listeners)
                    self._log_start(listeners)
                    self._bulletin.begin(tasks)
                    tasks.start_soon(keep_alive, self._supervision, parts)
                    await self._stop.wait()
                    await self._drain()
                    tasks.cancel_scope.cancel()
            await self._services.presence.leave()
        log.info("daemon.stopped")

    def _open_workshop(self) -> Workshop | TaskRunner:
        """Where tasks are worked on: in a worker, or here, where nobody waits for answers."""
        runner = self._services.runner
        if not self._config.daemon.works_apart:
            return runner
        relay, instance = self._observatory.relay, self._services.instance
        workshop = Workshop(runner, relay, instance, lambda: self._config)
        self._observatory.ask(workshop)
        return workshop

    @contextmanager
    def _listening(self) -> Iterator[list[socket.socket]]:
        if self._front is None:
            self._handed_over.require_known(())
            yield []
            return
        self._handed_over.require_known(("api",))
        with api_listeners(self._config, self._handed_over) as listeners:
            yield listeners

    def _begin_heartbeats(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._services.claims.renew_forever)
        tasks.start_soon(
            repeat,
            "presence",
            self._services.presence.beat,
            lambda: self._config.claims.renew_every,
        )

    def _begin_duties(self, tasks: TaskGroup) -> None:
        self._duties.begin(tasks)
        if "tasks" in self._config.daemon.roles:
            tasks.start_soon(self._work.serve)

    async def _begin_answering(self, tasks: TaskGroup, listeners: list[socket.socket]) -> None:
        if self._front:
            self._server = ApiServer(self._front.app, connection_settings(self._config))
            self._observatory.watch(self._server)
            tasks.start_soon(self._server.serve, listeners)
            await self._server.ready.wait()

    def _log_start(self, listeners: list[socket.socket]) -> None:
        log.info(
            "daemon.started",
            version=version("imaged"),
            instance=self._services.instance,
            roles=list(self._config.daemon.roles),
            bind=[name_of(listener) for listener in listeners],
            stores=list(self._config.stores.by_name),
            catalog=shown(self._config.catalog.url),
        )

    async def _heed_signals(self, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for which in received:
                if not self._stop.is_set():
                    self._heed(which)
                elif self._server is not None and which != signal.SIGHUP:
                    self._server.hurry()

    def _heed(self, which: signal.Signals) -> None:
        if which == signal.SIGHUP:
            self._reload()
        else:
            self._stop.set()

    def _reload(self) -> None:
        self._bulletin.reloading()
        rejected = False
        try:
            changes = compare(self._config, self._read_config())
            if self._front:
                self._front.apply(changes.config)
            self._observatory.apply(changes.config)
        except (ConfigInvalid, ImagedError) as error:
            rejected = True
            log.error("config.rejected", problems=str(error).splitlines())  # noqa: TRY400 - no crash
        else:
            self._apply(changes)
        self._observatory.instruments.reloaded(successfully=not rejected)
        self._bulletin.reloaded(rejected=rejected)

    def _apply(self, changes: Changes) -> None:
        self._config = changes.config
        self._services.apply(self._config)
        if isinstance(self._work, Workshop):
            self._work.reload()
        if self._server:
            self._server.connections.settings = connection_settings(self._config)
        configure_log(self._config.log.level, self._config.log.format)
        log.info("config.reloaded", changes=changes.applied)
        if changes.restart_needed:
            log.warning("config.restart_needed", settings=changes.restart_needed)
        self._duties.wake()

    async def _drain(self) -> None:
        """No new work; what is under way may end, for a while."""
        patience = self._config.daemon.drain_timeout
        in_flight = 0 if self._server is None else self._server.in_flight
        log.info("daemon.stopping", in_flight=in_flight, drain_timeout_s=patience.total_seconds())
        self._bulletin.draining(patience)
        self._duties.end()
        self._work.stop_picking()
        if self._front and self._server:
            self._front.stop_being_ready()
            self._server.drain(patience)
            await self._server.drained.wait()
