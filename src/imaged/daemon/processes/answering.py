"""Who answers the requests of an instance: this process, or processes of their own.

The daemon starts, reloads and drains either in the same way.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from anyio.abc import TaskGroup

from imaged.config import Config
from imaged.core.policy import Policy
from imaged.daemon.container import ServiceContainer
from imaged.daemon.metrics_endpoint import MetricsEndpoint
from imaged.daemon.processes.activity import activity_of
from imaged.daemon.processes.messages import Activity
from imaged.daemon.settings import connection_settings
from imaged.daemon.web_app import API_HOOKS, WebApp
from imaged.server.server import HttpServer


class Answering(Protocol):
    """Answers requests on the sockets that it is given."""

    @property
    def activity(self) -> Activity:
        """What it does now and did since its start."""
        ...

    @property
    def running(self) -> Sequence[str]:
        """The ids of tasks that run beside requests, in other processes than this one."""
        ...

    async def start(self, tasks: TaskGroup, listeners: list[socket.socket]) -> None:
        """Answer from now on. Raises ImagedError if nothing can be answered."""
        ...

    def prepare(self, config: Config, policy: Policy) -> None:
        """Load what a reload may find invalid. Raises ImagedError, and changes nothing then."""
        ...

    async def apply(self, config: Config) -> None:
        """Use the settings that were prepared, and the services' rules and schema."""
        ...

    async def drain(self) -> None:
        """Accept no more connections; return when all requests are answered, or broken off after
        daemon.drain_timeout.
        """
        ...

    def stop_now(self) -> None:
        """End a drain now: break off what is in flight."""
        ...

    async def check(self) -> None:
        """Return when every process that answers has responded."""
        ...

    async def refresh(self, seconds: float) -> None:
        """Wait until ``activity`` is of now, but no longer than that."""
        ...


class OwnServer:
    """Answers in this process. Raises TokenFileInvalid."""

    running: Sequence[str] = ()

    def __init__(
        self, services: ServiceContainer, config: Config, metrics_endpoint: MetricsEndpoint
    ) -> None:
        self._services = services
        self._instruments = metrics_endpoint.instruments
        self._web_app = WebApp(services, config, metrics_endpoint)
        self._server = HttpServer(self._web_app.app, connection_settings(config), API_HOOKS)
        self._drain_timeout = config.daemon.drain_timeout
        metrics_endpoint.track_server(self._server)

    @property
    def activity(self) -> Activity:
        """What this process does now and did since its start."""
        requests = self._instruments.requests.counts
        return activity_of(self._services.traffic, requests, self._server.in_flight)

    async def start(self, tasks: TaskGroup, listeners: list[socket.socket]) -> None:
        """Answer from now on."""
        tasks.start_soon(self._server.serve, listeners)
        await self._server.ready.wait()

    def prepare(self, config: Config, policy: Policy) -> None:
        """Load tokens and secrets, and apply rules. Raises ImagedError."""
        self._web_app.apply(config, policy)

    async def apply(self, config: Config) -> None:
        """Use the settings of connections."""
        self._drain_timeout = config.daemon.drain_timeout
        self._server.connections.settings = connection_settings(config)

    async def drain(self) -> None:
        """Accept no more connections; return when all requests are answered or broken off."""
        self._web_app.set_draining()
        self._server.drain(self._drain_timeout)
        await self._server.drained.wait()
        await self._services.sent_downloads.close()

    def stop_now(self) -> None:
        """End a drain now: cancel the requests in flight."""
        self._server.stop_now()

    async def check(self) -> None:
        """Return at once: this event loop runs."""

    async def refresh(self, seconds: float) -> None:
        """Return at once: the counts are those of this process."""
