"""The life of one daemon process: start, serve, handle signals, drain, stop.

Everything runs in one task group. The heartbeats end last: while a transfer finishes or its claim
is released, its lease must hold and the instance must stay registered.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from imaged.catalogs.connect import without_password
from imaged.config import Config, ConfigInvalid
from imaged.config.model import ConfigChanges, compare_configs
from imaged.config.policy_file import read_policy
from imaged.config.schema_file import read_schema
from imaged.core.errors import ImagedError
from imaged.core.image_schema import ImageSchema
from imaged.core.policy import Policy
from imaged.core.summary import RequestCounts
from imaged.daemon.background_jobs import BackgroundJobs
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import build_receiver, open_drivers
from imaged.daemon.keystone import reload_secrets
from imaged.daemon.metrics_endpoint import REFRESH_SECONDS, MetricsEndpoint
from imaged.daemon.processes.activity import activity_of
from imaged.daemon.processes.answering import Answering, OwnServer
from imaged.daemon.processes.forks import Forks
from imaged.daemon.processes.messages import Activity
from imaged.daemon.processes.supervisor import AnsweringProcesses
from imaged.daemon.systemd import StatusReporter, SystemdNotifier, run_watchdog
from imaged.daemon.web_app import api_listeners
from imaged.daemon.worker_supervisor import WorkerSupervisor
from imaged.ports.event_receiver import EventReceiver
from imaged.process import lowest_priority
from imaged.server.listeners import ActivatedSockets, listener_address
from imaged.services.periodic import run_periodically
from imaged.services.tasks.runner import TaskRunner
from imaged.telemetry import configure_log

log = structlog.get_logger()


class Daemon:
    """Runs one instance: ``imaged serve``, or with one role ``imaged scrub`` or ``imaged work``."""

    def __init__(
        self,
        config: Config,
        read_config: Callable[[], Config],
        notifier: SystemdNotifier,
        activated: ActivatedSockets,
        forks: Forks | None = None,
    ) -> None:
        self._forks = forks
        self._config = config
        self._read_config = read_config
        self._notifier = notifier
        self._activated_sockets = activated
        self._stop = anyio.Event()
        self._metrics_endpoint = MetricsEndpoint(config)
        self._answering: Answering | None = None
        self._failure: ImagedError | None = None

    async def run(self) -> None:
        """Run until a signal stops the daemon. Raises ImagedError if it cannot start."""
        instruments = self._metrics_endpoint.instruments
        processes = 1 if self._forks is None else self._forks.counts.processes
        async with open_drivers(self._config, instruments, processes=processes) as drivers:
            self._services = ServiceContainer(
                drivers, self._config, instruments, policy=read_policy(self._config)
            )
            self._services.use_schema(read_schema(self._config))
            self._metrics_endpoint.attach(drivers, self._services, has_budget=self._forks is None)
            self._task_runner = self._choose_task_runner()
            receiver = self._build_receiver(self._config)
            self._services.delivery.replace_receiver(receiver)
            self._background_jobs = BackgroundJobs(self._services, lambda: self._config)
            self._answering = self._choose_answering()
            self._status_reporter = StatusReporter(
                self._notifier,
                drivers.catalog,
                self._transfers,
                self._running_tasks,
                self._services.health,
                roles=self._config.daemon.roles,
                next_scrub=lambda: self._background_jobs.next_in("scrubber"),
            )
            with self._listening() as listeners, self._metrics_endpoint.open_listeners():
                async with anyio.create_task_group() as tasks:
                    await tasks.start(self._receive_signals)
                    self._start_heartbeats(tasks)
                    tasks.start_soon(self._metrics_endpoint.run)
                    self._start_background_jobs(tasks)
                    await self._start_answering(tasks, listeners)
                    if self._failure is None:
                        if self._config.daemon.is_worker_only:
                            lowest_priority()
                        self._log_start(listeners)
                        self._status_reporter.start(tasks)
                        checks = [] if self._answering is None else [self._answering.check]
                        tasks.start_soon(run_watchdog, self._notifier, drivers, checks)
                    await self._stop.wait()
                    await self._drain()
                    tasks.cancel_scope.cancel()
            await self._services.heartbeat.stop()
        log.info("daemon.stopped")
        if self._failure is not None:
            raise self._failure

    def _build_receiver(self, config: Config) -> EventReceiver | None:
        """Raises WebhookSecretsInvalid, CertificatesRefused."""
        return build_receiver(config) if "scrubber" in config.daemon.roles else None

    def _choose_task_runner(self) -> WorkerSupervisor | TaskRunner:
        """Run tasks in a worker process, or here if this process answers no requests."""
        runner = self._services.runner
        if not self._config.daemon.has_worker_process:
            return runner
        worker_counters, instance = self._metrics_endpoint.worker_counters, self._services.instance
        worker_supervisor = WorkerSupervisor(
            runner, worker_counters, instance, lambda: self._config
        )
        self._metrics_endpoint.track_worker(worker_supervisor.refresh)
        return worker_supervisor

    def _choose_answering(self) -> Answering | None:
        """Answer requests here, or in processes of their own."""
        if "api" not in self._config.daemon.roles:
            return None
        services, metrics = self._services, self._metrics_endpoint
        if self._forks is None:
            return OwnServer(services, self._config, metrics)
        return AnsweringProcesses(self._forks, services, lambda: self._config, metrics, self._fail)

    def _fail(self, error: ImagedError) -> None:
        """Stop, because the service cannot go on."""
        self._failure = self._failure or error
        self._stop.set()

    def _transfers(self) -> Activity:
        """What this instance transfers, beside its tasks' process."""
        if self._answering is None:
            return activity_of(self._services.traffic, RequestCounts(), 0)
        return self._answering.activity

    def _running_tasks(self) -> Collection[str]:
        elsewhere = () if self._answering is None else self._answering.running
        return [*self._task_runner.running, *elsewhere]

    @contextmanager
    def _listening(self) -> Iterator[list[socket.socket]]:
        if self._answering is None:
            self._activated_sockets.require_known(())
            yield []
            return
        self._activated_sockets.require_known(("api",))
        with api_listeners(self._config, self._activated_sockets) as listeners:
            yield listeners

    def _start_heartbeats(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._services.claims.renew_forever)
        tasks.start_soon(
            run_periodically,
            "presence",
            self._services.heartbeat.send,
            lambda: self._config.claims.renew_every,
        )

    def _start_background_jobs(self, tasks: TaskGroup) -> None:
        self._background_jobs.start(tasks)
        if "tasks" in self._config.daemon.roles:
            tasks.start_soon(self._task_runner.serve)

    async def _start_answering(self, tasks: TaskGroup, listeners: list[socket.socket]) -> None:
        if self._answering is not None:
            try:
                await self._answering.start(tasks, listeners)
            except ImagedError as error:
                self._fail(error)

    def _log_start(self, listeners: list[socket.socket]) -> None:
        log.info(
            "daemon.started",
            version=version("imaged"),
            instance=self._services.instance,
            roles=list(self._config.daemon.roles),
            bind=[listener_address(listener) for listener in listeners],
            stores=list(self._config.stores.by_name),
            catalog=without_password(self._config.catalog.url),
        )

    async def _receive_signals(self, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for which in received:
                if not self._stop.is_set():
                    await self._handle_signal(which)
                elif self._answering is not None and which != signal.SIGHUP:
                    self._answering.stop_now()

    async def _handle_signal(self, which: signal.Signals) -> None:
        if which == signal.SIGHUP:
            await self._reload()
        else:
            self._stop.set()

    async def _reload(self) -> None:
        self._status_reporter.reloading()
        rejected = False
        try:
            changes = compare_configs(self._config, self._read_config())
            policy, schema = read_policy(changes.config), read_schema(changes.config)
            receiver = self._build_receiver(changes.config)
            if self._answering is not None:
                self._answering.prepare(changes.config, policy)
            self._metrics_endpoint.apply(changes.config)
            reload_secrets(self._services.limits, changes.config)
        except (ConfigInvalid, ImagedError) as error:
            rejected = True
            for why in str(error).splitlines():
                log.error("config.rejected", why=why)  # noqa: TRY400 - expected, without traceback
        else:
            await self._apply(changes, policy, schema)
            self._services.delivery.replace_receiver(receiver)
        self._metrics_endpoint.instruments.reloaded(successfully=not rejected)
        self._services.health.reloaded(successfully=not rejected)
        self._status_reporter.reloaded()

    async def _apply(self, changes: ConfigChanges, policy: Policy, schema: ImageSchema) -> None:
        self._config = changes.config
        self._services.apply(self._config, policy)
        self._services.use_schema(schema)
        if isinstance(self._task_runner, WorkerSupervisor):
            self._task_runner.reload()
        if self._answering is not None:
            await self._answering.apply(self._config)
        configure_log(self._config.log.level, self._config.log.format)
        log.info("config.reloaded", changes=changes.applied)
        if changes.restart_needed:
            log.warning("config.restart_needed", settings=changes.restart_needed)
        self._background_jobs.wake()

    async def _drain(self) -> None:
        """Start no new work; wait up to ``drain_timeout`` for work in progress."""
        timeout = self._config.daemon.drain_timeout
        if self._answering is not None:
            await self._answering.refresh(REFRESH_SECONDS)
        in_flight = self._transfers().requests_in_flight
        log.info("daemon.stopping", in_flight=in_flight, drain_timeout_s=timeout.total_seconds())
        self._status_reporter.draining(timeout)
        self._background_jobs.stop()
        self._task_runner.stop_claiming()
        self._services.health.draining = True
        if self._answering is not None:
            await self._answering.drain()
