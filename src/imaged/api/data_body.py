"""Data as the body of a request: ``PUT …/file`` and ``PUT …/stage`` take it in the same way."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.refusals import LengthRequired, MediaTypeRefused
from imaged.api.requests import (
    body_of,
    caller_of,
    image_id_of,
    media_type_of,
    require_unpacked,
    store_of,
)
from imaged.core.access import Caller
from imaged.core.errors import InvalidRequest

OCTETS = "application/octet-stream"
SIZE_HEADER = "x-openstack-image-size"

_SIZE = re.compile(r"\d{1,18}", re.ASCII)

#: Makes a body durable: who asks, the image, the body, its size in bytes and its store, if told.
Take = Callable[[Caller, str, AsyncIterable[bytes], int | None, str | None], Awaitable[object]]


async def take_data(request: Request, take: Take) -> Response:
    """Hand the body to ``take``, and answer 204 when that returns.

    Raises MediaTypeRefused, EncodingRefused, LengthRequired, ImageNotFound and InvalidRequest
    before anything is read, then what ``take`` raises, and ClientVanished through it.
    """
    if media_type_of(request) != OCTETS:
        raise MediaTypeRefused(request.headers.get("content-type", ""), [OCTETS])
    require_unpacked(request)
    _require_whole(request)
    async with aclosing(body_of(request)) as body:
        await take(
            caller_of(request),
            image_id_of(request),
            body,
            _announced_bytes(request),
            store_of(request),
        )
    return Response(status_code=204)


def _require_whole(request: Request) -> None:
    """Refuse a part of the data (RFC 9110, section 14.5), and data whose end nothing tells (RFC
    9112, section 6.3). Raises InvalidRequest, LengthRequired.
    """
    if "content-range" in request.headers:
        raise InvalidRequest(
            "The header Content-Range says that the body is a part of the data. Parts cannot be "
            "put together here: send the whole, without this header."
        )
    if not {"content-length", "transfer-encoding"} & set(request.headers.keys()):
        raise LengthRequired


def _announced_bytes(request: Request) -> int | None:
    """How many bytes the body says that it has. Raises InvalidRequest where it says two things."""
    lengths = {
        name: _length(name, request.headers[name])
        for name in ("content-length", SIZE_HEADER)
        if name in request.headers
    }
    if len(set(lengths.values())) > 1:
        said = " and ".join(f"{name} says {length}" for name, length in lengths.items())
        raise InvalidRequest(f"The headers disagree on the size of the data: {said}.")
    return next(iter(lengths.values()), None)


def _length(name: str, text: str) -> int:
    if _SIZE.fullmatch(text) is None:
        raise InvalidRequest(f"The header {name} must be a number of bytes, and is {text!r}.")
    return int(text)
