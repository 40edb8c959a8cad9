"""What handlers read from a request."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from starlette.requests import Request

from imaged.api.refusals import BodyTooLarge
from imaged.core.access import Caller
from imaged.core.attributes import UUID_PATTERN
from imaged.core.errors import ClientVanished, ImageNotFound, InvalidRequest, TaskNotFound
from imaged.core.limits import MAX_REQUEST_BYTES

CALLER = "imaged.caller"  # where the scope keeps who is asking
REQUEST_ID = "imaged.request_id"  # and what the request is called, here and in the log
STORE_HEADER = "x-image-meta-store"

_UUID = re.compile(UUID_PATTERN)
_LONGEST_ID_SHOWN = 64
_MOST_DIGITS = 20


def caller_of(request: Request) -> Caller:
    """Who is asking."""
    caller: Caller = request.scope[CALLER]
    return caller


def image_id_of(request: Request) -> str:
    """The id in the path. Raises ImageNotFound for what cannot be one."""
    image_id: str = request.path_params["image_id"]
    if not is_uuid(image_id):
        raise ImageNotFound(image_id[:_LONGEST_ID_SHOWN])
    return image_id.lower()


def task_id_of(request: Request) -> str:
    """The id of a task in the path. Raises TaskNotFound for what cannot be one."""
    task_id: str = request.path_params["task_id"]
    if not is_uuid(task_id):
        raise TaskNotFound(task_id[:_LONGEST_ID_SHOWN])
    return task_id.lower()


def request_id_of(request: Request) -> str:
    """What the request is called."""
    request_id: str = request.scope[REQUEST_ID]
    return request_id


def is_uuid(text: str) -> bool:
    """Whether an image or a task can have this id."""
    return _UUID.fullmatch(text) is not None


def store_of(request: Request) -> str | None:
    """The store that the data is for, where the request names one."""
    return request.headers.get(STORE_HEADER)


def media_type_of(request: Request) -> str:
    """The Content-Type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def body_of(request: Request) -> AsyncGenerator[bytes]:
    """The chunks of the body, as they were received. Raises ClientVanished."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientVanished
        if chunk := message.get("body", b""):
            yield chunk
        more = message.get("more_body", False)


async def json_of(request: Request) -> Any:
    """The body, which must be JSON. Raises InvalidRequest, BodyTooLarge, ClientVanished.

    Stricter than most parsers: a name may not come twice, because two readers could see two values.
    """
    body = bytearray()
    async for chunk in body_of(request):
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise BodyTooLarge(MAX_REQUEST_BYTES)
    if not body:
        raise InvalidRequest("The request needs a body, in JSON.")
    try:
        return json.loads(
            body.decode(),
            object_pairs_hook=_each_name_once,
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
        )
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not in UTF-8.") from None
    except ValueError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"The name {twice!r} comes twice in the body.")
    return table


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidRequest(f"The body is not JSON: {text} is no number.")


def _parse_int(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise InvalidRequest("The body has an integer that is too large.")
    return int(text)
