"""uvicorn inside our task group: signals, draining and the log are the daemon's."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import anyio
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imaged.daemon.listeners import BACKLOG

LOOK_SECONDS = 0.05
LAST_WORDS_SECONDS = 2  # for answers to requests that were cancelled
KEEP_ALIVE_SECONDS = 75  # longer than most proxies: who sends requests should be the one to close

_STOPPING = PlainTextResponse(
    "The server is being stopped. Please try again.\n",
    status_code=503,
    headers={"Connection": "close", "Retry-After": "5"},
)


class ApiServer(uvicorn.Server):
    """Answers requests until it is drained."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                self._answer,
                interface="asgi3",
                http="httptools",
                loop="uvloop",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self._app = app
        self._drain_timeout = timedelta(0)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # below are clients' mistakes
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

    async def _wait_for_connections(self) -> None:
        """Each ends when its answer is complete and sent, and an idle one at once."""
        while self.server_state.connections and not self._hurry.is_set():
            for connection in list(self.server_state.connections):
                connection.shutdown()
            with anyio.move_on_after(LOOK_SECONDS):
                await self._hurry.wait()

    async def _cancel_requests(self) -> None:
        """Cancel what is in flight, and wait until each request has given back what it held."""
        cancelled = list(self.server_state.tasks)
        for request in cancelled:
            request.cancel()
        uvicorn_log = logging.getLogger("uvicorn.error")
        uvicorn_log.disabled = True  # it takes being cancelled for a crash of the application
        try:
            await asyncio.gather(*cancelled, return_exceptions=True)
        finally:
            uvicorn_log.disabled = False

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell a client whose request is cancelled to come again; break off what has begun."""
        has_begun = False

        async def note_begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note_begin)
        except asyncio.CancelledError:
            if has_begun or not self.should_exit:
                raise
            await _STOPPING(scope, receive, send)
