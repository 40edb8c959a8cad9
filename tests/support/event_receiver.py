"""A receiver of events, as an operator would write one: it verifies what it is sent."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSByZWNlaXZlciAx"
OTHER_SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSByZWNlaXZlciAy"


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A request: its event, and its headers with names in lower case."""

    body: bytes
    headers: Mapping[str, str]

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass(slots=True)
class WebhookServer:
    """Accepts events that bear a signature by its secret.

    ``statuses``: of the next answers. ``hang``: while it is set, requests are not answered.
    """

    secret: str = SECRET
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)  # of its answers
    received: list[ReceivedEvent] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)  # of the connections
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    tls: ssl.SSLContext | None = None
    port: int = 0

    @property
    def url(self) -> str:
        """Where events are sent."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/events?code=hidden"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[WebhookServer]:
        """Serve on a free port."""
        self.answering.set()
        app = web.Application()
        app.router.add_route("*", "/events", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            self.answering.set()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        self.received.append(ReceivedEvent(body, headers))
        await self.answering.wait()
        status = self.statuses.pop(0) if self.statuses else 204
        if request.method == "POST":
            Webhook(self.secret).verify(body, headers)  # an error is answered with 500
        return web.Response(status=status, headers=self.headers)
