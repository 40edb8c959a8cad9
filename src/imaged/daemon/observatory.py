"""What an instance tells of itself at /metrics: its instruments, the page, and where it is served.

An instance without the API, a scrubber for example, has the page at addresses of its own alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import anyio
from starlette.types import ASGIApp

from imaged.api.app import build_metrics_app
from imaged.api.bearer import BearerToken
from imaged.api.browsers import OwnNames
from imaged.api.metrics import Metrics
from imaged.config import Config
from imaged.config.addresses import API, Address, TcpAddress, UnixAddress
from imaged.daemon.assembly import Services
from imaged.daemon.counting import tally_of
from imaged.daemon.duties import names_of
from imaged.daemon.listeners import listening
from imaged.daemon.parts import Parts
from imaged.daemon.server import ApiServer
from imaged.daemon.settings import connection_settings
from imaged.daemon.workshop import Workshop
from imaged.metrics.figures import Figures
from imaged.metrics.instruments import Instruments
from imaged.metrics.lookout import Lookout
from imaged.metrics.page import Pages
from imaged.metrics.relay import Relay
from imaged.metrics.tally import Tally


class Observatory:
    """Measures one instance."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.instruments = Instruments(
            stores=list(config.stores.by_name), duties=names_of(config.daemon.roles)
        )
        self.instruments.watch_instance(version("imaged"))
        self.relay = Relay()  # of a worker of this instance
        self._token = _token_of(config)
        self._server: ApiServer | None = None  # the API's
        self._workshop: Workshop | None = None

    def observe(self, parts: Parts, services: Services) -> None:
        """Look at these from now on."""
        types = services.desk.registry.names
        self.instruments.tasks.announce(types)
        self._lookout = Lookout(
            parts.catalog, parts.stores, services.health, self._config.claims.lease, types
        )
        self.instruments.count(lambda: self._with_connections(tally_of(parts, services)))
        pages = Pages(self.instruments.registry, self._look, self.relay)
        self._metrics = Metrics(pages.write, self._token, self._names())

    def apply(self, config: Config) -> None:
        """Read the token again. Raises TokenFileInvalid, and nothing is changed then."""
        if self._token is not None and config.metrics.token_file:
            self._token.reload(Path(config.metrics.token_file))

    @property
    def for_api(self) -> Metrics | None:
        """The page for the API's own addresses, if it is to be there."""
        return self._metrics if API in self._config.metrics.bind else None

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, with its requests counted."""
        return self.instruments.requests.around(app)

    def watch(self, server: ApiServer) -> None:
        """Count the connections of the API."""
        self._server = server

    def ask(self, workshop: Workshop) -> None:
        """Have the latest counts of its worker, whenever the page is written."""
        self._workshop = workshop

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen at the addresses of its own. Raises CannotListen."""
        with listening(self._own_addresses()) as listeners:
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

    def _own_addresses(self) -> list[Address]:
        bind = self._config.metrics.bind
        return [address for address in bind if isinstance(address, TcpAddress | UnixAddress)]

    def _names(self) -> OwnNames | None:
        """None where other machines may ask: by which names, only they know."""
        is_private = all(address.is_local_only for address in self._own_addresses())
        return OwnNames() if is_private else None

    async def _look(self) -> Figures:
        if self._workshop is not None:
            await self._workshop.refresh()
        return await self._lookout.figures()

    def _with_connections(self, tally: Tally) -> Tally:
        if self._server is None:
            return tally
        connections = self._server.connections
        ended = {reason.value: count for reason, count in connections.ended.items()}
        return replace(tally, connections=len(connections), connections_ended=ended)


def _token_of(config: Config) -> BearerToken | None:
    """Raises TokenFileInvalid."""
    file = config.metrics.token_file
    return BearerToken(Path(file)) if file else None
