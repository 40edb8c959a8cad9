"""Answers of the server itself: to malformed and refused requests, and during a shutdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

MALFORMED_REQUEST = "The request is not valid HTTP/1.1."
HEADER_TOO_LARGE = "The header of the request is too large."
HEADER_TIMED_OUT = "The header of the request took too long to arrive."
TOO_MANY_CONNECTIONS = "There are too many connections. Please try again."
TOO_MANY_PIPELINED = "Too many requests are pipelined on this connection."
SHUTTING_DOWN = "The server is shutting down. Please try again.\n"
SHUTDOWN_RESPONSE_SECONDS = 2  # for answers to requests that were cancelled
RETRY_AFTER_HEADER = {"Retry-After": "5"}


def raw_response(
    status: int,
    message: str,
    extra_headers: Mapping[str, str],
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """Serialize an answer after which the connection is closed."""
    title = f"{status} {HTTPStatus(status).phrase}"
    body = f"{title}\n\n{message}\n".encode()
    named = {
        **{name.decode(): text.decode() for name, text in headers},
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "connection": "close",
        "x-content-type-options": "nosniff",
        **(RETRY_AFTER_HEADER if status == HTTPStatus.SERVICE_UNAVAILABLE else {}),
        **extra_headers,
    }
    head = "".join(f"{name.lower()}: {text}\r\n" for name, text in named.items())
    return f"HTTP/1.1 {title}\r\n{head}\r\n".encode() + body


def shutdown_response(
    _scope: Scope,
    status: int = HTTPStatus.SERVICE_UNAVAILABLE,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer to a request that a shutdown cancelled."""
    every = {"Connection": "close", **RETRY_AFTER_HEADER, **(headers or {})}
    return PlainTextResponse(SHUTTING_DOWN, status_code=status, headers=every)
