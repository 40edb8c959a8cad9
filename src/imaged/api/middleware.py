"""The outermost layer, which sees every request and its answer.

Every answer has the request's id; every error is answered by ``http_errors.py``. If an answer
is sent before the body was read to its end and much of it is left, the answer announces that the
connection will be closed, and the server ensures that the client can read the answer. Nothing is
buffered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars, unbind_contextvars

from imaged.api.bodies import RequestBody
from imaged.api.http_errors import HttpError, error_response, status_and_sentence
from imaged.api.resource import REQUEST_ID_SCOPE_KEY
from imaged.core.errors import ClientVanished, ImagedError, KeystoneError, StoreError

log = structlog.get_logger()

REQUEST_ID_HEADER = "X-Openstack-Request-Id"
FROM_SERVER_ERRORS = 500
REFUSALS = frozenset({401, 403, 421})  # no valid token, not permitted, by a name of another service

_REQUEST_ID = REQUEST_ID_HEADER.lower().encode()
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_CLOSE = (b"connection", b"close")

_GLOBAL_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


OnError = Callable[[Exception], None]


def ignore_error(error: Exception) -> None:
    """Tell no metric of an error."""


class RequestMiddleware:
    """Wraps the application; all HTTP requests pass through it."""

    def __init__(self, app: ASGIApp, on_error: OnError = ignore_error) -> None:
        """``on_error``: told each error that a request is answered with."""
        self._app = app
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"Only HTTP is served, not {scope['type']}.")
        started, headers, request_id = perf_counter(), Headers(scope=scope), f"req-{uuid4()}"
        scope[REQUEST_ID_SCOPE_KEY] = request_id
        body = RequestBody(headers, receive)
        answer = _Answer(send, body, request_id, is_head=scope["method"] == "HEAD")
        bound = bind_contextvars(
            request_id=request_id, global_request_id=_global_id(headers), peer=_peer(scope)
        )
        try:
            await self._app({**scope}, body.receive, answer.send)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            is_upload = body.is_upload
            self._on_error(error)
            _log_refusal(error, scope)
            _log_failure(error, is_started=answer.status is not None, is_upload=is_upload)
            if answer.status is None:
                response = error_response(error, headers.get("accept", ""), is_upload=is_upload)
                await response(scope, body.receive, answer.send)
        finally:
            log.debug(
                "request.finished",
                method=scope["method"],
                path=scope["path"],
                status=answer.status,
                duration_s=round(perf_counter() - started, 6),
            )
            reset_contextvars(**bound)
            unbind_contextvars("user_id", "project_id", "image_id", "task_id")


class _Answer:
    """The answer, with the headers that every answer has."""

    def __init__(self, send: Send, body: RequestBody, request_id: str, *, is_head: bool) -> None:
        self._send = send
        self._is_head = is_head
        self._body = body
        self._request_id = request_id
        self.status: int | None = None  # None: not started

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (_REQUEST_ID, self._request_id.encode()), _NO_SNIFFING]
            if self._body.closes_connection and _CLOSE not in headers:
                headers.append(_CLOSE)
            message = {**message, "headers": headers}
        elif self._is_head:  # RFC 9110, section 9.3.2: the same headers, without content
            message = {**message, "body": b""}
        await self._send(message)


def _global_id(headers: Headers) -> str | None:
    """The id that the client gave to this and other requests, if it is valid for a log."""
    global_id = headers.get(REQUEST_ID_HEADER, "")
    return global_id if _GLOBAL_ID.fullmatch(global_id) else None


def _peer(scope: Scope) -> str | None:
    """The address of the client, or of the proxy before it; None on a unix socket."""
    client = scope.get("client")
    return client[0] if client and client[0] else None


def _log_refusal(error: Exception, scope: Scope) -> None:
    """Log one line, of a limited number, for a client that may not do what it asked for."""
    status = status_and_sentence(error).status
    if status in REFUSALS:
        log.info(
            "request.refused",
            method=scope["method"],
            path=scope["path"],
            status=status,
            error_type=type(error).__name__,
        )


def _log_failure(error: Exception, *, is_started: bool, is_upload: bool) -> None:
    """Log one line for an error that the client did not cause."""
    if isinstance(error, ClientVanished | HttpError | KeystoneError):
        return  # an outage of Keystone has events of its own
    status = status_and_sentence(error, is_upload=is_upload).status
    is_ours = status >= FROM_SERVER_ERRORS or isinstance(error, StoreError)
    if not is_ours and not is_started:
        return
    name, store = type(error).__name__, error.store if isinstance(error, StoreError) else None
    mistake = None if isinstance(error, ImagedError) else error
    if is_started:
        log.error(
            "answer.broken_off", error=str(error), error_type=name, store=store, exc_info=mistake
        )
    else:
        log.error(
            "request.failed",
            status=status,
            error=str(error),
            error_type=name,
            store=store,
            exc_info=mistake,
        )
