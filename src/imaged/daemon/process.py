"""The life of one process: begin, work, heed signals, drain, end.

Everything runs in one task group. The heartbeats are the last to end: while a transfer is finished
or given back, its lease has to hold, and the instance is there.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import version

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from imaged.catalogs.opening import shown
from imaged.config import Config, ConfigInvalid
from imaged.config.addresses import Address
from imaged.core.errors import ImagedError
from imaged.daemon.assembly import Services, open_parts
from imaged.daemon.duties import Duty
from imaged.daemon.front import Front
from imaged.daemon.listeners import listening, name_of
from imaged.daemon.reload import Changes, compare
from imaged.daemon.server import ApiServer
from imaged.services.loops import repeat
from imaged.supervision import Supervision
from imaged.telemetry import configure_log

log = structlog.get_logger()


class Daemon:
    """``imaged serve``; with the scrubber's role alone, ``imaged scrub``."""

    def __init__(
        self, config: Config, read_config: Callable[[], Config], supervision: Supervision
    ) -> None:
        self._config = config
        self._read_config = read_config
        self._supervision = supervision
        self._stop = anyio.Event()
        self._front: Front | None = None
        self._server: ApiServer | None = None
        self._duties: list[Duty] = []

    async def run(self) -> None:
        """Work until a signal ends it. Raises ImagedError where it cannot begin."""
        async with open_parts(self._config) as parts:
            self._services = Services(parts, self._config)
            if "api" in self._config.daemon.roles:
                self._front = Front(parts, self._services, self._config)
            with listening(self._addresses()) as listeners:
                async with anyio.create_task_group() as tasks:
                    await tasks.start(self._heed_signals)
                    self._begin_duties(tasks)
                    await self._begin_answering(tasks, listeners)
                    self._tell_ready(listeners)
                    await self._stop.wait()
                    await self._drain()
                    tasks.cancel_scope.cancel()
            await self._services.presence.leave()
        log.info("daemon.stopped")

    def _addresses(self) -> Sequence[Address]:
        return self._config.api.bind if self._front else ()

    def _begin_duties(self, tasks: TaskGroup) -> None:
        services, often = self._services, lambda: self._config.claims.renew_every
        tasks.start_soon(services.claims.renew_forever)
        tasks.start_soon(repeat, "presence", services.presence.beat, often)
        self._duties = [Duty("reclaimer", services.reclaimer.run_due, often)]
        if "scrubber" in self._config.daemon.roles:
            self._duties += [
                Duty("scrubber", services.scrubber.run_due, lambda: self._config.scrubber.every),
                Duty("reconcile", services.reconcile.run_due, lambda: self._config.reconcile.every),
            ]
        for duty in self._duties:
            tasks.start_soon(duty.run)

    async def _begin_answering(self, tasks: TaskGroup, listeners: list[socket.socket]) -> None:
        if self._front:
            self._server = ApiServer(self._front.app)
            tasks.start_soon(self._server.serve, listeners)
            await self._server.ready.wait()

    def _tell_ready(self, listeners: list[socket.socket]) -> None:
        addresses = [name_of(listener) for listener in listeners]
        log.info(
            "daemon.started",
            version=version("imaged"),
            instance=self._services.instance,
            roles=list(self._config.daemon.roles),
            bind=addresses,
            stores=list(self._config.stores.by_name),
            catalog=shown(self._config.catalog.url),
        )
        self._status = f"ready: {', '.join(addresses or self._config.daemon.roles)}"
        self._supervision.ready(self._status)

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
        self._supervision.reloading()
        try:
            changes = compare(self._config, self._read_config())
            if self._front:
                self._front.apply(changes.config)
        except (ConfigInvalid, ImagedError) as error:
            log.error("config.rejected", problems=str(error).splitlines())  # noqa: TRY400 - no crash
        else:
            self._apply(changes)
        self._supervision.ready(self._status)

    def _apply(self, changes: Changes) -> None:
        self._config = changes.config
        self._services.apply(self._config)
        configure_log(self._config.log.level, self._config.log.format)
        log.info("config.reloaded", changes=changes.applied)
        if changes.restart_needed:
            log.warning("config.restart_needed", settings=changes.restart_needed)
        for duty in self._duties:
            duty.wake()

    async def _drain(self) -> None:
        """No new work; what is under way may end, for a while."""
        patience = self._config.daemon.drain_timeout
        in_flight = 0 if self._server is None else self._server.in_flight
        log.info("daemon.stopping", in_flight=in_flight, drain_timeout_s=patience.total_seconds())
        self._supervision.stopping(f"draining: {in_flight} requests in flight", patience)
        for duty in self._duties:
            duty.end()
        if self._front and self._server:
            self._front.stop_being_ready()
            self._server.drain(patience)
            await self._server.drained.wait()
