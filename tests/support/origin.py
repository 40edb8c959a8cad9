"""A web server that breaks off, changes its mind and redirects, for what fetches from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(slots=True)
class Origin:
    """What it serves under ``/image``, and how badly. ``/to`` redirects to ``target``."""

    body: bytes = b""
    etag: str | None = '"one"'
    says_size: bool = True
    knows_ranges: bool = True
    encoding: str | None = None
    breaks: list[int] = field(default_factory=list)  # bytes, of the next answers
    changes: list[bytes] = field(default_factory=list)  # bodies, from the next answers on
    statuses: list[int] = field(default_factory=list)  # of the next answers
    target: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    asked: list[Mapping[str, str]] = field(default_factory=list)  # headers
    hang: asyncio.Event = field(default_factory=asyncio.Event)
    hangs_after: int | None = None  # bytes

    @property
    def url(self) -> str:
        """Of the body."""
        return f"http://{self.host}:{self.port}/image"

    @property
    def redirect_url(self) -> str:
        """Of what redirects to the target."""
        return f"http://{self.host}:{self.port}/to"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Origin]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_get("/image", self._answer)
        app.router.add_get("/to", self._redirect)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            self.hang.set()
            await runner.cleanup()

    async def _redirect(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        return web.Response(status=302, headers={"Location": self.target})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.headers))
        if self.statuses and (status := self.statuses.pop(0)) != web.HTTPOk.status_code:
            return web.Response(status=status)
        if self.changes:
            self.body, self.etag = self.changes.pop(0), self.etag and f'"{len(self.changes)}"'
        start = self._start(request)
        answer = web.StreamResponse(status=206 if start else 200)
        if start:
            last, size = len(self.body) - 1, len(self.body)
            answer.headers["Content-Range"] = f"bytes {start}-{last}/{size}"
        if self.etag:
            answer.headers["ETag"] = self.etag
        if self.encoding:
            answer.headers["Content-Encoding"] = self.encoding
        if self.says_size:
            answer.content_length = len(self.body) - start
        else:
            answer.enable_chunked_encoding()
        await answer.prepare(request)
        await self._send(request, answer, self.body[start:])
        return answer

    async def _send(self, request: web.Request, answer: web.StreamResponse, body: bytes) -> None:
        if self.breaks:
            await answer.write(body[: self.breaks.pop(0)])
            assert request.transport is not None
            request.transport.abort() if not body else request.transport.close()
        elif self.hangs_after is not None:
            await answer.write(body[: self.hangs_after])
            await self.hang.wait()
        else:
            await answer.write(body)
            await answer.write_eof()

    def _start(self, request: web.Request) -> int:
        wanted = request.headers.get("Range", "")
        condition = request.headers.get("If-Range")
        if not self.knows_ranges or not wanted or condition not in {None, self.etag}:
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))
