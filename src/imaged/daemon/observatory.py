"""What an instance tells of itself at /metrics: its instruments, the page, and where it is served.

An instance without the API, a scrubber for example, has the page at addresses of its own alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

import anyio
from starlette.types import ASGIApp

from imaged.api.app import build_metrics_app
from imaged.api.metrics import Metrics
from imaged.config import Config
from imaged.config.addresses import API, TcpAddress, UnixAddress
from imaged.daemon.assembly import Parts, Services
from imaged.daemon.connections import Reason
from imaged.daemon.duties import names_of
from imaged.daemon.listeners import listening
from imaged.daemon.server import ApiServer
from imaged.daemon.settings import connection_settings
from imaged.metrics.instruments import Instruments
from imaged.metrics.lookout import Lookout
from imaged.metrics.page import Pages
from imaged.metrics.tally import Tally


class Observatory:
    """Measures one process."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.instruments = Instruments(
            version=version("imaged"),
            stores=list(config.stores.by_name),
            duties=names_of(config.daemon.roles),
        )
        self._server: ApiServer | None = None  # the API's

    def observe(self, parts: Parts, services: Services) -> None:
        """Look at these from now on."""
        self._parts, self._services = parts, services
        types = services.desk.registry.names
        self.instruments.tasks.announce(types)
        self._lookout = Lookout(
            parts.catalog, parts.stores, services.health, self._config.claims.lease, types
        )
        self.instruments.count(self._tally)
        self._metrics = Metrics(Pages(self.instruments.registry, self._lookout.figures).write)

    @property
    def for_neighbours(self) -> Metrics | None:
        """The page for the API's own addresses, if it is to be there."""
        return self._metrics if API in self._config.metrics.bind else None

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, with its requests counted."""
        return self.instruments.requests.around(app)

    def watch(self, server: ApiServer) -> None:
        """Count the connections of the API."""
        self._server = server

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen at the addresses of its own. Raises CannotListen."""
        own = [
            address
            for address in self._config.metrics.bind
            if isinstance(address, TcpAddress | UnixAddress)
        ]
        with listening(own) as listeners:
            self._listeners = listeners
            yield

    async def run(self) -> None:
        """Watch, look when asked, and answer; until cancelled, and so to the end of a drain."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.instruments.loop.run)
            tasks.start_soon(self._lookout.run)
            if self._listeners:
                tasks.start_soon(self._serve, self._listeners)

    async def _serve(self, listeners: list[socket.socket]) -> None:
        server = ApiServer(build_metrics_app(self._metrics), connection_settings(self._config))
        try:
            await server.serve(listeners)
        finally:
            if server.started:
                with anyio.CancelScope(shield=True):
                    await server.shutdown(listeners)

    def _tally(self) -> Tally:
        services, database = self._services, self._parts.database
        budget = services.budget
        connections = None if self._server is None else self._server.connections
        ended: Mapping[Reason, int] = {} if connections is None else connections.ended
        return Tally(
            traffic=services.traffic,
            budget_bytes=budget.total_bytes,
            budget_used_bytes=max(0, budget.total_bytes - budget.free_bytes),
            connections=0 if connections is None else len(connections),
            connections_ended={reason.value: count for reason, count in ended.items()},
            claims_held=services.claims.held,
            claims_taken_back=services.reclaimer.taken_back,
            scrubbed=services.scrubber.totals,
            reconciled=services.reconcile.last,
            transactions=database.busy,
            connections_limit=database.connections_limit,
            second_tries=database.second_tries,
        )
