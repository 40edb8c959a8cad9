"""Data as the body of a request: ``PUT …/file`` and ``PUT …/stage`` take it in the same way."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Awaitable
from contextlib import aclosing
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.http_errors import LengthRequired, MediaTypeRefused
from imaged.api.requests import (
    OCTET_STREAM,
    body_of,
    caller_of,
    image_id_of,
    media_type_of,
    require_unpacked,
    store_of,
)
from imaged.core.access import Caller
from imaged.core.errors import InvalidRequest

SIZE_HEADER = "x-openstack-image-size"
REPLACE_HEADER = "x-imaged-replace"

_BYTE_COUNT = re.compile(r"\d{1,18}", re.ASCII)


class BodyHandler(Protocol):
    """Makes a body durable. Its arguments are the caller, the image, the body, its size in bytes
    and its store, if given; ``replaces``: it is another file on purpose, after a broken upload.
    """

    def __call__(
        self,
        caller: Caller,
        image_id: str,
        body: AsyncIterable[bytes],
        announced_bytes: int | None,
        store: str | None,
        *,
        replaces: bool,
    ) -> Awaitable[object]:
        """Return once the body is durable."""
        ...


async def receive_data(request: Request, take: BodyHandler) -> Response:
    """Pass the body to ``take``, and answer 204 when that returns.

    Raises MediaTypeRefused, EncodingRefused, LengthRequired, ImageNotFound and InvalidRequest
    before anything is read, then the errors of ``take``, and ClientVanished through it.
    """
    if media_type_of(request) != OCTET_STREAM:
        raise MediaTypeRefused(request.headers.get("content-type", ""), [OCTET_STREAM])
    require_unpacked(request)
    _require_whole(request)
    async with aclosing(body_of(request)) as body:
        await take(
            caller_of(request),
            image_id_of(request),
            body,
            _announced_bytes(request),
            store_of(request),
            replaces=_replaces(request),
        )
    return Response(status_code=204)


def _require_whole(request: Request) -> None:
    """Refuse a part of the data (RFC 9110, section 14.5), and data without a length (RFC 9112,
    section 6.3). Raises InvalidRequest, LengthRequired.
    """
    if "content-range" in request.headers:
        raise InvalidRequest(
            "The header Content-Range says that the body is a part of the data. Partial "
            "uploads are not supported: send the whole, without this header."
        )
    if not {"content-length", "transfer-encoding"} & set(request.headers.keys()):
        raise LengthRequired


def _announced_bytes(request: Request) -> int | None:
    """The announced size of the body. Raises InvalidRequest if two headers disagree."""
    lengths = {
        name: _length(name, request.headers[name])
        for name in ("content-length", SIZE_HEADER)
        if name in request.headers
    }
    if len(set(lengths.values())) > 1:
        said = " and ".join(f"{name} says {length}" for name, length in lengths.items())
        raise InvalidRequest(f"The headers disagree on the size of the data: {said}.")
    return next(iter(lengths.values()), None)


def _replaces(request: Request) -> bool:
    """Whether the client says that the body is another file. Raises InvalidRequest."""
    match request.headers.get(REPLACE_HEADER, "false").strip().lower():
        case "true":
            return True
        case "false":
            return False
        case said:
            raise InvalidRequest(
                f"The header {REPLACE_HEADER} must be true or false, not {said!r}."
            )


def _length(name: str, text: str) -> int:
    if _BYTE_COUNT.fullmatch(text) is None:
        raise InvalidRequest(f"The header {name} must be a number of bytes, and is {text!r}.")
    return int(text)
