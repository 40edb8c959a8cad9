"""uvicorn inside our task group: signals, draining and the log are the daemon's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import anyio
import uvicorn
from starlette.types import ASGIApp

from imaged.daemon.answers import LAST_WORDS_SECONDS
from imaged.daemon.connections import Connections
from imaged.daemon.descriptors import make_room
from imaged.daemon.limits import ConnectionSettings
from imaged.daemon.listeners import BACKLOG
from imaged.daemon.protocol import Connection

LOOK_SECONDS = 0.05
FIRST_WORDS_SECONDS = 1  # for the request of who has just connected
NEVER_SECONDS = 1 << 30  # what the library would end, our connections end themselves


class ApiServer(uvicorn.Server):
    """Answers requests until it is drained."""

    def __init__(self, app: ASGIApp, settings: ConnectionSettings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                http=Connection,
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=NEVER_SECONDS,
            )
        )
        self.connections = Connections(settings)
        self.server_state = self.connections
        self._drain_timeout = timedelta(0)
        self.ready = anyio.Event()
        self.drained = anyio.Event()
        self._hurry = anyio.Event()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return len(self.server_state.tasks)

    def drain(self, drain_timeout: timedelta) -> None:
        """Begin to stop: no new connections, and so long for the requests in flight."""
        self._drain_timeout = drain_timeout
        self.should_exit = True

    def hurry(self) -> None:
        """Wait no longer: what is in flight is cancelled, and given back."""
        self._hurry.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        make_room(self.connections.settings.max_connections)
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: listeners first, then idle connections, then what is in flight."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        with anyio.move_on_after(self._drain_timeout.total_seconds()):
            await self._wait_for_connections()
        await self._cancel_requests()
        with anyio.move_on_after(LAST_WORDS_SECONDS):
            self._hurry = anyio.Event()
            await self._wait_for_connections()
        self.drained.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections, ten times a second; they know when it is time."""
        self.connections.look(anyio.current_time())
        return await super().on_tick(counter)

    async def _wait_for_connections(self) -> None:
        """Each ends when its answer is complete and sent, and an idle one at once.

        One on which nothing was asked yet may be about to: it was accepted, so it is answered.
        """
        no_longer_new_at = anyio.current_time() + FIRST_WORDS_SECONDS
        while self.server_state.connections and not self._hurry.is_set():
            now = anyio.current_time()
            for connection in list(self.server_state.connections):
                is_new = isinstance(connection, Connection) and connection.is_new
                if not is_new or now >= no_longer_new_at:
                    connection.shutdown()
            self.connections.look(now)
            with anyio.move_on_after(LOOK_SECONDS):
                await self._hurry.wait()

    async def _cancel_requests(self) -> None:
        """Cancel what is in flight, and wait until each request has given back what it held."""
        cancelled = list(self.server_state.tasks)
        for request in cancelled:
            request.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
