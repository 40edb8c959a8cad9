"""Small requests, at the least cost for the client that there is: one connection, kept alive.

Strategy: bytes go straight to the parser that the event loop's protocol holds; nothing is built
but the body. `measures/` asks a server that does nothing the same questions, so that everybody sees
how much of a figure is the client's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httptools
import msgspec

from bench.endpoint import Endpoint

SOCKET_TIMEOUT_SECONDS = 120
CLOSE_WAIT_SECONDS = 0.1


class ErrorResponse(Exception):
    """The server answered, but not what was asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, read."""
        return msgspec.json.decode(self.body)


class Client:
    """Asks one thing after the other."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._wire: _Connection | None = None

    async def get(self, path: str) -> Answer:
        """Read something."""
        return await self.ask("GET", path)

    async def create(self, record: bytes) -> str:
        """A new record; its id."""
        answer = await self.ask("POST", "/v2/images", record, "application/json")
        image_id: str = answer.json()["id"]
        return image_id

    async def put(self, image_id: str, data: bytes) -> None:
        """Upload a little."""
        path = f"/v2/images/{image_id}/file"
        await self.ask("PUT", path, data, "application/octet-stream")

    async def delete(self, image_id: str) -> None:
        """Delete an image."""
        await self.ask("DELETE", f"/v2/images/{image_id}")

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Answer:
        """One request. Raises ErrorResponse for an answer that is not good, OSError."""
        facts = [f"Content-Type: {kind}", f"Content-Length: {len(body)}"] if kind else []
        if self._wire is None or self._wire.is_closed:
            self._wire = await self._connect()
        wire = self._wire
        async with asyncio.timeout(SOCKET_TIMEOUT_SECONDS):
            answer = await wire.ask(self._endpoint.head(method, path, *facts) + body)
        if not self._endpoint.keeps_alive:
            wire.close()
        if not 200 <= answer.status < 300:
            raise ErrorResponse(f"{method} {path}: {answer.status} {answer.body[:300].decode()}")
        return answer

    async def is_closed_after_an_answer(self) -> bool:
        """Whether the server hangs up, though it was not asked to."""
        await self.get("/v2/images?limit=1")
        await asyncio.sleep(CLOSE_WAIT_SECONDS)
        return self._wire is None or self._wire.is_closed

    def close(self) -> None:
        """Hang up."""
        if self._wire is not None:
            self._wire.close()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(
            _Connection, self._endpoint.host, self._endpoint.port
        )
        return wire


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncIterator[Client]:
    """A client that hangs up at the end of the block."""
    client = Client(endpoint)
    try:
        yield client
    finally:
        client.close()


async def probe(endpoint: Endpoint) -> None:
    """Learn whether connections are kept, so that no request is sent into one that is closing."""
    async with connected(endpoint) as client:
        endpoint.keeps_alive = not await client.is_closed_after_an_answer()


class _Connection(asyncio.Protocol):
    """A connection, and the answer that is coming in on it."""

    def __init__(self) -> None:
        self.is_closed = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._has_head = False

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        self._answer = asyncio.get_running_loop().create_future()
        self._body, self._has_head = [], False
        if self._transport is None or self.is_closed:
            self._answer.set_exception(ConnectionResetError("closed before the request was sent"))
        else:
            self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is None or self._answer.done():
            return
        if self._has_head and exc is None:  # a body that ends where the connection does
            self.on_message_complete()
        else:
            self._answer.set_exception(exc or ConnectionResetError("closed instead of an answer"))

    def on_headers_complete(self) -> None:
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            status = self._parser.get_status_code()
            self._answer.set_result(Answer(status, b"".join(self._body)))
        if not self._parser.should_keep_alive():
            self.close()
