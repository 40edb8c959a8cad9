"""The limit for small requests: answers that were made beforehand, whatever is asked.

    python -m bench.limits.canned_responses PORT

What it does is the event loop's and the parser's work, and nothing else; so a figure near to this
one measures the client.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import httptools
import msgspec
import uvloop

IMAGE_RECORD = {
    "name": "bench",
    "disk_format": "raw",
    "container_format": "bare",
    "visibility": "shared",
    "size": None,
    "status": "queued",
    "protected": False,
    "min_ram": 0,
    "min_disk": 0,
    "owner": "00000000000000000000000000000000",
    "id": "image",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "tags": ["bench"],
    "self": "/v2/images/image",
    "file": "/v2/images/image/file",
    "schema": "/v2/schemas/image",
}


def _answer(status: bytes, body: object = None) -> bytes:
    data = b"" if body is None else msgspec.json.encode(body)
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(data)) + data


SHOW_RESPONSE = _answer(b"200 OK", IMAGE_RECORD)
LIST_RESPONSE = _answer(b"200 OK", {"images": [IMAGE_RECORD] * 25, "first": "/v2/images"})
CREATE_RESPONSE = _answer(b"201 Created", IMAGE_RECORD)
DELETE_RESPONSE = b"HTTP/1.1 204 No Content\r\n\r\n"


def _nobody_is_there(_: bytes) -> None:
    """Requests come on connections alone."""


class CannedResponses(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._answer: Callable[[bytes], None] = _nobody_is_there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._answer = cast("asyncio.WriteTransport", transport).write

    def data_received(self, data: bytes) -> None:
        """Read what is asked."""
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """A list is asked for by its limit."""
        self._url += url

    def on_message_complete(self) -> None:
        """Answer."""
        match self._parser.get_method():
            case b"POST":
                self._answer(CREATE_RESPONSE)
            case b"GET":
                self._answer(LIST_RESPONSE if b"limit=" in self._url else SHOW_RESPONSE)
            case _:
                self._answer(DELETE_RESPONSE)


async def serve(port: int) -> None:
    """Answer until killed."""
    server = await asyncio.get_running_loop().create_server(CannedResponses, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
