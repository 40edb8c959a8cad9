"""What handlers read of a request, and the absolute addresses in its answer."""

from __future__ import annotations

import re
from collections.abc import Callable

from starlette.requests import Request

from imaged.core.access import Caller
from imaged.core.attributes import STORE_HEADER, UUID_PATTERN
from imaged.core.errors import ImageNotFound, TaskNotFound

CALLER_SCOPE_KEY = "imaged.caller"  # key of the caller in the scope
REQUEST_ID_SCOPE_KEY = "imaged.request_id"  # key of the request's id, also in the log

_UUID = re.compile(UUID_PATTERN)
_HOST = re.compile(r"[A-Za-z0-9._~\[\]:%-]+")
_LONGEST_ID_SHOWN = 64


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
