"""uvicorn inside the daemon's task group; the daemon handles signals, draining and logs."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import anyio
import uvicorn
from starlette.types import ASGIApp

from imaged.server.acceptor import Acceptor
from imaged.server.connection_counts import ConnectionCounts, SharedSlot
from imaged.server.connections import CHECK_INTERVAL_SECONDS, ConnectionTracker, ServerHooks
from imaged.server.listeners import BACKLOG
from imaged.server.protocol import HttpConnection
from imaged.server.raw_responses import SHUTDOWN_RESPONSE_SECONDS
from imaged.server.settings import ConnectionSettings

DRAIN_POLL_SECONDS = 0.05
FIRST_REQUEST_SECONDS = 1  # for the first request of a new connection
NO_TIMEOUT_SECONDS = 1 << 30  # HttpConnection has its own timeouts
RESERVED_DESCRIPTORS = 512  # for stores, catalogs and libraries, beside the connections


class HttpServer(uvicorn.Server):
    """Serves an ASGI application until it is drained. ``counts``: see ConnectionTracker."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ConnectionSettings,
        hooks: ServerHooks | None = None,
        *,
        check_interval_seconds: float = CHECK_INTERVAL_SECONDS,
        counts: ConnectionCounts | None = None,
    ) -> None:
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
        self.connections = ConnectionTracker(
            settings, hooks, check_interval_seconds=check_interval_seconds, counts=counts
        )
        self.server_state = self.connections
        self._shared_counts = counts if isinstance(counts, SharedSlot) else None
        self._acceptors: list[Acceptor] = []
        self._drain_timeout = timedelta(0)
        self.ready = anyio.Event()
        self.drained = anyio.Event()
        self._stop_now = anyio.Event()

    @property
    def in_flight(self) -> int:
        """The number of requests being answered."""
        return len(self.server_state.tasks)

    def drain(self, drain_timeout: timedelta) -> None:
        """Stop accepting connections; requests in flight have ``drain_timeout`` to end."""
        self._drain_timeout = drain_timeout
        self.should_exit = True

    def stop_now(self) -> None:
        """End a drain now: requests in flight are cancelled and release their claims."""
        self._stop_now.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raise the limit of open files and start to serve; sets ``ready``."""
        raise_file_limit(self.connections.settings.max_connections)
        if self._shared_counts is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self._accept_from(sockets or [], self._shared_counts)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, then idle connections; cancel requests in flight; abort the rest."""
        for server in self.servers:
            server.close()
        for acceptor in self._acceptors:
            acceptor.close()
        for listener in sockets or ():
            listener.close()
        with anyio.move_on_after(self._drain_timeout.total_seconds()):
            await self._wait_for_connections()
        await self._cancel_requests()
        with anyio.move_on_after(SHUTDOWN_RESPONSE_SECONDS):
            self._stop_now = anyio.Event()
            await self._wait_for_connections()
        for connection in list(self.server_state.connections):  # its client does not read
            connection.transport.abort()
        self.drained.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon: uvicorn installs no handlers."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Offer the connections a check. uvicorn calls this ten times a second."""
        self.connections.check_timeouts(anyio.current_time())
        return await super().on_tick(counter)

    def _accept_from(self, sockets: list[socket.socket], counts: SharedSlot) -> None:
        """Accept from sockets that other processes accept from, too."""
        loop = asyncio.get_running_loop()

        def make_protocol() -> HttpConnection:
            return HttpConnection(self.config, self.connections, self.lifespan.state, loop)

        self._acceptors = [Acceptor(one, make_protocol, counts) for one in sockets]

    async def _wait_for_connections(self) -> None:
        """Wait until each connection has sent its answer; close idle connections at once.

        A new connection may be about to send its first request: it was accepted, so it has
        ``FIRST_REQUEST_SECONDS``.
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
        """Cancel the requests in flight, and wait until each has released its resources."""
        cancelled = list(self.server_state.tasks)
        for request in cancelled:
            request.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)


def raise_file_limit(connections: int) -> None:
    """Raise the soft limit of open files as far as needed and allowed.

    Many systems default to 1,024, which suits programs that use ``select``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
