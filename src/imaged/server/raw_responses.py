"""Answers of the server itself: to malformed and refused requests, and during a shutdown."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

from imaged.api.error_responses import BAD_GATEWAY, TITLES, UNAVAILABLE
from imaged.api.middleware import REQUEST_ID_HEADER, SCOPE_REQUEST_ID
from imaged.api.requests import sends_file

MALFORMED_REQUEST = "The request is not valid HTTP/1.1."
HEADER_TOO_LARGE = "The header of the request is too large."
HEADER_TIMED_OUT = "The header of the request took too long to arrive."
TOO_MANY_CONNECTIONS = "There are too many connections. Please try again."
TOO_MANY_PIPELINED = "Too many requests are pipelined on this connection."
SHUTTING_DOWN = "The server is shutting down. Please try again.\n"
SHUTDOWN_RESPONSE_SECONDS = 2  # for answers to requests that were cancelled
RETRY_AFTER_HEADER = {"Retry-After": "5"}


def raw_response(status: int, message: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Serialize an answer after which the connection is closed."""
    title = f"{status} {TITLES[status]}"
    body = f"{title}\n\n{message}\n".encode()
    named = {
        **{name.decode(): text.decode() for name, text in headers},
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "connection": "close",
        "x-content-type-options": "nosniff",
        REQUEST_ID_HEADER.lower(): f"req-{uuid4()}",
        **(RETRY_AFTER_HEADER if status == UNAVAILABLE else {}),
    }
    head = "".join(f"{name.lower()}: {text}\r\n" for name, text in named.items())
    return f"HTTP/1.1 {title}\r\n{head}\r\n".encode() + body


def shutdown_response(scope: Scope) -> Response:
    """Return the answer to a cancelled request, with the request id that the log has.

    An upload gets 502: after 503, clients repeat it and send only the rest of their file.
    """
    headers = {
        "Connection": "close",
        REQUEST_ID_HEADER: scope[SCOPE_REQUEST_ID],
        **RETRY_AFTER_HEADER,
    }
    status = BAD_GATEWAY if sends_file(Headers(scope=scope)) else UNAVAILABLE
    return PlainTextResponse(SHUTTING_DOWN, status_code=status, headers=headers)
