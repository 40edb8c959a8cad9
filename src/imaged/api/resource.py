"""One path of the API: a handler for each method, checks common to all, and what handlers read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from imaged.api.conditions import Conditions, conditional
from imaged.api.http_errors import MethodNotAllowed
from imaged.api.serialize import image_etag
from imaged.core.access import Caller, require_change
from imaged.core.attributes import STORE_HEADER, UUID_PATTERN
from imaged.core.errors import ImageNotFound, NotPermitted, TaskNotFound
from imaged.core.image import Image

CALLER_SCOPE_KEY = "imaged.caller"  # key of the caller in the scope
REQUEST_ID_SCOPE_KEY = "imaged.request_id"  # key of the request's id, also in the log

_UUID = re.compile(UUID_PATTERN)
_HOST = re.compile(r"[A-Za-z0-9._~\[\]:%-]+")
_LONGEST_ID_SHOWN = 64

Handler = Callable[[Request], Awaitable[ASGIApp]]

#: Returns the image or the task of a request; raises an error if there is none for its caller.
Find = Callable[[Request], Awaitable[object]]

SAFE_METHODS = frozenset({"GET", "HEAD"})


class Resource:
    """The handlers of one path, by method.

    HEAD is answered like GET (RFC 9110, section 9.3.2); a handler of its own saves work. OPTIONS
    is answered with the methods, and has no conditions (sections 9.3.7 and 13.2.1). For a
    change, ``find`` is called first, then roles and conditions are checked, before the body is
    read; conditions on an image are checked again by services, on the locked record.
    ``created_by_put``: a PUT creates the resource.
    """

    def __init__(
        self, *, find: Find | None = None, created_by_put: bool = False, **handlers: Handler
    ) -> None:
        self.handlers: Mapping[str, Handler] = handlers
        self._find = find
        self._is_made_by_put = created_by_put

    @property
    def methods(self) -> list[str]:
        """The allowed methods."""
        methods = list(self.handlers)
        if "GET" in methods and "HEAD" not in methods:
            methods.insert(methods.index("GET") + 1, "HEAD")
        return [*methods, "OPTIONS"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises MethodNotAllowed, NotPermitted, PreconditionFailed, NotModified.
        """
        request = Request(scope, receive, send)
        if request.method == "OPTIONS":
            allowed = Response(status_code=204, headers={"Allow": ", ".join(self.methods)})
            await allowed(scope, receive, send)
            return
        handler = self._handler(request.method)
        _bind_ids(request)
        if request.method not in SAFE_METHODS:
            await self._require_right(request)
        if conditions := Conditions.of(request.headers):
            if request.method in SAFE_METHODS:
                send = conditional(conditions, send)
            else:
                await self._require_conditions(request, conditions)
        response = await handler(request)
        await response(scope, receive, send)

    def _handler(self, method: str) -> Handler:
        handler = self.handlers.get(method)
        if handler is None and method == "HEAD":
            handler = self.handlers.get("GET")
        if handler is None:
            raise MethodNotAllowed(method, self.methods)
        return handler

    async def _require_right(self, request: Request) -> None:
        """Refuse all changes by callers that may only read."""
        caller = request.scope.get(CALLER_SCOPE_KEY)
        if caller is None:
            return
        try:
            require_change(caller)
        except NotPermitted:
            if self._find is not None:
                await self._find(request)
            raise

    async def _require_conditions(self, request: Request, conditions: Conditions) -> None:
        found = None if self._find is None else await self._find(request)
        etag = image_etag(found, caller_of(request)) if isinstance(found, Image) else None
        exists = not (self._is_made_by_put and request.method == "PUT")
        conditions.require(etag, exists=exists)


def _bind_ids(request: Request) -> None:
    """Bind the ids in the path to the log context."""
    image_id = request.path_params.get("image_id", "")
    if is_uuid(image_id):
        bind_contextvars(image_id=image_id)
    task_id = request.path_params.get("task_id", "")
    if is_uuid(task_id):
        bind_contextvars(task_id=task_id)


class Links:
    """Builds addresses below ``public_url``, or below the address that the client used."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url.rstrip("/")

    def absolute(self, request: Request, path: str) -> str:
        """The address of a path of this API."""
        return (self._public_url or _own_address(request)) + path


def caller_of(request: Request) -> Caller:
    """The caller of the request."""
    caller: Caller = request.scope[CALLER_SCOPE_KEY]
    return caller


def image_id_of(request: Request) -> str:
    """The image id in the path. Raises ImageNotFound if it is malformed."""
    return _id_in_path(request, "image_id", ImageNotFound)


def task_id_of(request: Request) -> str:
    """The task id in the path. Raises TaskNotFound if it is malformed."""
    return _id_in_path(request, "task_id", TaskNotFound)


def request_id_of(request: Request) -> str:
    """The id of the request."""
    request_id: str = request.scope[REQUEST_ID_SCOPE_KEY]
    return request_id


def store_of(request: Request) -> str | None:
    """The store that the request names for the data, if any."""
    return request.headers.get(STORE_HEADER)


def is_uuid(text: str) -> bool:
    """Whether the text is a valid id of an image or a task."""
    return _UUID.fullmatch(text) is not None


def _id_in_path(request: Request, name: str, not_found: Callable[[str], Exception]) -> str:
    text: str = request.path_params[name]
    if not is_uuid(text):
        raise not_found(text[:_LONGEST_ID_SHOWN])
    return text.lower()


def _own_address(request: Request) -> str:
    host = request.headers.get("host", "")
    if _HOST.fullmatch(host) is None:
        name, port = request.scope.get("server") or ("localhost", None)
        host = f"{name}:{port}" if port else "localhost"
    return f"{request.scope['scheme']}://{host}"
