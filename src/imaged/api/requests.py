"""Accessors of requests for the handlers."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from starlette.datastructures import Headers
from starlette.requests import Request

from imaged.api.http_errors import EncodingRefused
from imaged.core.access import Caller
from imaged.core.attributes import UUID_PATTERN
from imaged.core.errors import ClientVanished, ImageNotFound, TaskNotFound

CALLER_SCOPE_KEY = "imaged.caller"  # key of the caller in the scope
REQUEST_ID_SCOPE_KEY = "imaged.request_id"  # key of the request's id, also in the log
STORE_HEADER = "x-image-meta-store"
OCTET_STREAM = "application/octet-stream"  # the media type of data

_UUID = re.compile(UUID_PATTERN)
_LONGEST_ID_SHOWN = 64


def caller_of(request: Request) -> Caller:
    """The caller of the request."""
    caller: Caller = request.scope[CALLER_SCOPE_KEY]
    return caller


def image_id_of(request: Request) -> str:
    """The image id in the path. Raises ImageNotFound if it is malformed."""
    image_id: str = request.path_params["image_id"]
    if not is_uuid(image_id):
        raise ImageNotFound(image_id[:_LONGEST_ID_SHOWN])
    return image_id.lower()


def task_id_of(request: Request) -> str:
    """The task id in the path. Raises TaskNotFound if it is malformed."""
    task_id: str = request.path_params["task_id"]
    if not is_uuid(task_id):
        raise TaskNotFound(task_id[:_LONGEST_ID_SHOWN])
    return task_id.lower()


def request_id_of(request: Request) -> str:
    """The id of the request."""
    request_id: str = request.scope[REQUEST_ID_SCOPE_KEY]
    return request_id


def is_uuid(text: str) -> bool:
    """Whether the text is a valid id of an image or a task."""
    return _UUID.fullmatch(text) is not None


def store_of(request: Request) -> str | None:
    """The store that the request names for the data, if any."""
    return request.headers.get(STORE_HEADER)


def media_type_of(request: Request) -> str:
    """The Content-Type without its parameters."""
    return _media_type(request.headers)


def sends_file(headers: Headers) -> bool:
    """Whether the body is a file that the client reads while sending it."""
    is_empty = headers.get("content-length") == "0"
    return _media_type(headers) == OCTET_STREAM and not is_empty


async def body_of(request: Request) -> AsyncGenerator[bytes]:
    """The chunks of the body, as received. Raises ClientVanished."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientVanished
        if chunk := message.get("body", b""):
            yield chunk
        more = message.get("more_body", False)


def require_unpacked(request: Request) -> None:
    """Refuse a body with a Content-Encoding (RFC 9110, section 8.4), which is not supported.

    Raises EncodingRefused.
    """
    for line in request.headers.getlist("content-encoding"):
        for coding in line.split(","):
            if coding.strip().lower() not in {"", "identity"}:
                raise EncodingRefused(coding.strip())


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
