"""A server that speaks like Keystone, and misbehaves as a test says, which a real one does not."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def token_document(**changes: Any) -> dict[str, Any]:
    """The document of a token that lives for an hour. ``changes``: fields of the token."""
    now = datetime.now(UTC).replace(microsecond=0)
    token = {
        "user": {"id": "ann", "name": "Ann", "domain": {"id": "default", "name": "Default"}},
        "project": {"id": "p1", "name": "web", "domain": {"id": "default", "name": "Default"}},
        "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "reader"}],
        "issued_at": f"{now:%Y-%m-%dT%H:%M:%S}.000000Z",
        "expires_at": f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}.000000Z",
    }
    return {"token": token | changes}


def error(status: int, message: str = "made up") -> Reply:
    """An error as Keystone writes it."""

    async def reply(_: web.Request) -> web.StreamResponse:
        body = {"error": {"code": status, "message": message, "title": "Made up"}}
        return web.json_response(body, status=status)

    return reply


def page(status: int) -> Reply:
    """A page in HTML, as proxies and wrong addresses send it."""

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="<h1>made up</h1>", content_type="text/html")

    return reply


def document(body: object, status: int = 200) -> Reply:
    """A document of JSON."""

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return reply


async def good(_: web.Request) -> web.StreamResponse:
    """The token is good."""
    return web.json_response(token_document())


async def broken_off(request: web.Request) -> web.StreamResponse:
    """The connection ends without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class ScriptedKeystone:
    """Answers validations by ``replies`` in turn, the last one again and again; signs in all."""

    def __init__(self, replies: Sequence[Reply] = (good,), login: Reply | None = None) -> None:
        self.replies = list(replies)
        self._login = login
        self.validations: list[web.Request] = []
        self.logins: list[dict[str, Any]] = []
        self.shown_tokens: list[str] = []
        self._scheme = "http"

    @property
    def url(self) -> str:
        """Its address, without the version."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedKeystone]:
        """Serve on a free port of the loopback."""
        self._scheme = "https" if tls else "http"
        app = web.Application()
        app.router.add_post("/v3/auth/tokens", self._sign_in)
        app.router.add_get("/v3/auth/tokens", self._validate)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            self._port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        self.logins.append(await request.json())
        if self._login is not None:
            return await self._login(request)
        headers = {"X-Subject-Token": f"own-{len(self.logins)}"}
        return web.json_response(token_document(), status=201, headers=headers)

    async def _validate(self, request: web.Request) -> web.StreamResponse:
        self.validations.append(request)
        self.shown_tokens.append(request.headers["X-Auth-Token"])
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return await reply(request)
