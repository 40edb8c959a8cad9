"""``/metrics`` of an instance: its instruments, the page, and the addresses that serve it.

An instance without the API role, for example a scrubber, serves it on separate addresses only.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
from starlette.types import ASGIApp

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.app import build_metrics_app
from imaged.api.authenticator import BearerToken
from imaged.api.monitoring import MetricsHandler
from imaged.config import Config
from imaged.config.types import API_ADDRESSES
from imaged.daemon.background_jobs import job_intervals, job_names
from imaged.daemon.backup_files import time_of_newest_backup
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import Drivers
from imaged.daemon.process_counters import read_counters
from imaged.daemon.settings import connection_settings
from imaged.daemon.web_app import API_HOOKS
from imaged.metrics.child_counters import ChildCounters
from imaged.metrics.counters import Counters
from imaged.metrics.instruments import ExpositionWriter, Instruments
from imaged.metrics.state_collector import StateCollector
from imaged.metrics.state_gauges import StateSnapshot
from imaged.server.listeners import open_listeners
from imaged.server.server import HttpServer
from imaged.server.settings import Address, TcpAddress, UnixAddress

REFRESH_SECONDS = 0.5  # how long a page waits for the latest counts of other processes

#: Waits for the latest counts of a process, for so many seconds at most.
Refresh = Callable[[float], Coroutine[Any, Any, None]]


class MetricsEndpoint:
    """Owns the instruments of one instance and serves its metrics."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.instruments = Instruments(
            stores=list(config.stores.by_name), duties=job_names(config.daemon.roles)
        )
        self.instruments.register_instance_metrics(version("imaged"))
        self._show_settings(config)
        self.worker_counters = ChildCounters()  # of this instance's worker process
        self._children = [self.worker_counters]
        self._refreshes: list[Refresh] = []
        self._token = _read_token(config)
        self._server: HttpServer | None = None  # the API's

    def attach(
        self, drivers: Drivers, services: ServiceContainer, *, has_budget: bool = True
    ) -> None:
        """Connect the instruments with the open drivers and the services. ``has_budget``: whether
        transfers pass through this process.
        """
        types = services.task_service.registry.names
        self.instruments.tasks.register_types(types)
        backups = self._config.backup.folder
        self._state_collector = StateCollector(
            drivers.catalog,
            drivers.stores,
            services.health,
            self._config.claims.lease,
            types,
            last_backup=None if backups is None else partial(time_of_newest_backup, backups),
        )

        def counters() -> Counters:
            found = read_counters(drivers, services, self._server)
            return found if has_budget else replace(found, budget_bytes=0)

        self.instruments.register_counters(counters)
        self.write_page = ExpositionWriter(
            self.instruments.registry, self._collect_state, self._children
        ).write
        self._metrics = MetricsHandler(
            self.write_page, self._token, allowed_names(self._own_addresses())
        )

    def apply(self, config: Config) -> None:
        """Reload the token, and report the new settings. Raises TokenFileInvalid and changes
        nothing then.
        """
        if self._token is not None and config.metrics.token_file:
            self._token.reload(Path(config.metrics.token_file))
        self._show_settings(config)

    @property
    def for_api(self) -> MetricsHandler | None:
        """The handler for the API's own addresses; None if they do not serve metrics."""
        return self._metrics if API_ADDRESSES in self._config.metrics.bind else None

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return the application with its requests counted."""
        return self.instruments.requests.wrap(app)

    def track_server(self, server: HttpServer) -> None:
        """Count the connections of the API's server."""
        self._server = server

    def track_worker(self, refresh: Refresh) -> None:
        """Ask for the worker's latest counts before each page."""
        self._refreshes.append(refresh)

    def track_children(self, counters: Sequence[ChildCounters], refresh: Refresh) -> None:
        """The same for other processes, whose counts are added."""
        self._children += counters
        self._refreshes.append(refresh)

    @contextmanager
    def open_listeners(self) -> Iterator[None]:
        """Listen on the separate addresses while the block runs. Raises CannotListen."""
        with open_listeners(self._own_addresses()) as listeners:
            self._listeners = listeners
            yield

    async def run(self) -> None:
        """Collect and serve metrics until cancelled, which is after the end of a drain."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.instruments.loop.run)
            tasks.start_soon(self._state_collector.run)
            if self._listeners:
                tasks.start_soon(self._serve, self._listeners)

    async def _serve(self, listeners: list[socket.socket]) -> None:
        app, settings = build_metrics_app(self._metrics), connection_settings(self._config)
        server = HttpServer(app, settings, API_HOOKS)
        try:
            await server.serve(listeners)
        finally:
            if server.started:
                with anyio.CancelScope(shield=True):
                    await server.shutdown(listeners)

    def _show_settings(self, config: Config) -> None:
        self.instruments.duties.set_intervals(job_intervals(config))
        self.instruments.set_scrub_delay(config.scrubber.delay)

    def _own_addresses(self) -> list[Address]:
        bind = self._config.metrics.bind
        return [address for address in bind if isinstance(address, TcpAddress | UnixAddress)]

    async def _collect_state(self) -> StateSnapshot:
        async with anyio.create_task_group() as tasks:
            for refresh in self._refreshes:
                tasks.start_soon(refresh, REFRESH_SECONDS)
        return await self._state_collector.collect()


def allowed_names(addresses: Collection[Address]) -> AllowedHosts | None:
    """Return the names that a request may call the service; None if other machines can connect, by
    names that are not known here.
    """
    is_private = all(address.is_local_only for address in addresses)
    return AllowedHosts() if is_private else None


def _read_token(config: Config) -> BearerToken | None:
    """Raises TokenFileInvalid."""
    file = config.metrics.token_file
    return BearerToken(Path(file)) if file else None
