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

from imaged.server.connection_settings import ConnectionSettings
from imaged.server.connections import ConnectionTracker
from imaged.server.listeners import BACKLOG
from imaged.server.protocol import HttpConnection
from imaged.server.raw_responses import SHUTDOWN_RESPONSE_SECONDS
from imaged.server.rlimits import raise_file_limit

DRAIN_POLL_SECONDS = 0.05
FIRST_REQUEST_SECONDS = 1  # for the request of who has just connected
NO_TIMEOUT_SECONDS = 1 << 30  # what the library would end, our connections end themselves


class HttpServer(uvicorn.Server):
    """Answers requests until it is drained."""

    def __init__(self, app: ASGIApp, settings: ConnectionSettings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                http=HttpConnection,
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=NO_TIMEOUT_SECONDS,
            )
        )
        self.connections = ConnectionTracker(settings)
        self.server_state = self.connections
        self._drain_timeout = timedelta(0)
        self.ready = anyio.Event()
        self.drained = anyio.Event()
        self._stop_now = anyio.Event()

    @property
    def in_flight(self) -> int:
        """How many requests are being answered."""
        return len(self.server_state.tasks)

    def drain(self, drain_timeout: timedelta) -> None:
        """Begin to stop: no new connections, and so long for the requests in flight."""
        self._drain_timeout = drain_timeout
        self.should_exit = True

    def stop_now(self) -> None:
        """Wait no longer: what is in flight is cancelled, and given back."""
        self._stop_now.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        raise_file_limit(self.connections.settings.max_connections)
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
        with anyio.move_on_after(SHUTDOWN_RESPONSE_SECONDS):
            self._stop_now = anyio.Event()
            await self._wait_for_connections()
        self.drained.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections, ten times a second; they know when it is time."""
        self.connections.check_timeouts(anyio.current_time())
        return await super().on_tick(counter)

    async def _wait_for_connections(self) -> None:
        """Each ends when its answer is complete and sent, and an idle one at once.

        One on which nothing was asked yet may be about to: it was accepted, so it is answered.
        """
        no_longer_new_at = anyio.current_time() + FIRST_REQUEST_SECONDS
        while self.server_state.connections and not self._stop_now.is_set():
            now = anyio.current_time()
            for connection in list(self.server_state.connections):
                is_new = isinstance(connection, HttpConnection) and connection.is_new
                if not is_new or now >= no_longer_new_at:
                    connection.shutdown()
            self.connections.check_timeouts(now)
            with anyio.move_on_after(DRAIN_POLL_SECONDS):
                await self._stop_now.wait()

    async def _cancel_requests(self) -> None:
        """Cancel what is in flight, and wait until each request has given back what it held."""
        cancelled = list(self.server_state.tasks)
        for request in cancelled:
            request.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
