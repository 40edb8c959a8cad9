"""One request as the application answers it, and how it ends after cancellation or an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from imaged.server.connections import ServerHooks
from imaged.server.raw_responses import SHUTDOWN_RESPONSE_SECONDS
from imaged.server.transport import LingeringTransport


class ServedRequest:
    """ASGI middleware around one request. ``is_slow``: whether its body arrives too slowly."""

    def __init__(
        self,
        app: ASGIApp,
        cycle: RequestResponseCycle,
        transport: LingeringTransport,
        is_slow: Callable[[], bool],
        hooks: ServerHooks,
    ) -> None:
        self._app = app
        self._cycle = cycle
        self._transport = transport
        self._is_slow = is_slow
        self._hooks = hooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application. An aborted request does not count as an error of the application."""

        async def receive_in_time() -> Message:
            message = await receive()
            if self._is_slow() and self._cycle.more_body:
                raise self._hooks.body_too_slow()
            return message

        cycle = self._cycle
        try:
            await self._app(scope, receive_in_time, send)
        except asyncio.CancelledError:  # the server is shutting down
            if not cycle.response_started:
                await self._send_shutdown_response(scope, receive, send)
        if cycle.response_started and not cycle.response_complete and not cycle.disconnected:
            cycle.disconnected = True
            self._transport.close()

    async def _send_shutdown_response(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for the application; abort the connection if the client does not read in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_RESPONSE_SECONDS):
                await self._hooks.shutdown_response(scope)(scope, receive, send)
        if not self._cycle.response_complete and not self._cycle.disconnected:
            self._cycle.disconnected = True
            self._transport.abort()
