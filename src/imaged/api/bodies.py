"""Bodies: of requests, as chunks or as JSON, which is parsed in linear time; JSON of answers.

The parser is stricter than most: a name may not occur twice, because two readers could see two
values, and a lone surrogate (RFC 8259, section 8.2) is refused, because it cannot be stored. JSON
larger than ``LARGE_BYTES`` is parsed in a thread, so that it does not block the event loop.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import inf, isfinite
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from imaged.api.http_errors import BodyTooLarge, EncodingRefused, MediaTypeRefused
from imaged.api.serialize import encode
from imaged.core.attributes import OCTET_STREAM
from imaged.core.errors import ClientVanished, InvalidRequest
from imaged.core.limits import KIB, MAX_REQUEST_BYTES, MIB

JSON = "application/json"
_JSON_HEADER = (b"content-type", JSON.encode())

LARGE_BYTES = 16 * KIB
SHORT_REST_BYTES = 1 * MIB  # of a body: left unread, it does not end the connection

_MAX_INTEGER_DIGITS = 20  # of an integer
_MAX_FLOAT_DIGITS = 64
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_HALF_A_CHARACTER = (
    "has half a character, a lone surrogate: write the character itself, in UTF-8, or both of its "
    "escapes"
)

#: One thread suffices: it parses at most 64 KiB at a time.
_PARSER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="json")


class RequestBody:
    """The request's body, and how much of it is still unread."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self._receive = receive
        self._is_file = sends_file(headers)
        self._left = _announced_bytes(headers)
        self._is_held_back = headers.get("expect", "").lower() == "100-continue"

    @property
    def closes_connection(self) -> bool:
        """Whether too much of the body is unread to reuse the connection."""
        is_long = self._left is None or self._left > SHORT_REST_BYTES
        return is_long or (self._is_held_back and self._left != 0)

    @property
    def is_upload(self) -> bool:
        """Whether bytes of a file are being received, or were."""
        return self._is_file and not self._is_held_back

    async def receive(self) -> Message:
        """Receive the next message of the request."""
        message = await self._receive()
        self._is_held_back = False
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._left = 0
        elif self._left is not None:
            self._left = max(self._left - len(message.get("body", b"")), 1)
        return message


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


async def json_object_of(request: Request, contents: str) -> dict[str, Any]:
    """Return the parsed body, which must be an object in ``application/json``.

    ``contents``: what it must have, for the error.

    Raises MediaTypeRefused, EncodingRefused, InvalidRequest, BodyTooLarge, ClientVanished.
    """
    media_type = media_type_of(request)
    if media_type != JSON:
        raise MediaTypeRefused(media_type, [JSON])
    document = await document_of(request)
    if not isinstance(document, dict):
        raise InvalidRequest(f"The body must be a JSON object with {contents}.")
    return document


async def document_of(request: Request) -> Any:
    """Return the parsed JSON body of any media type.

    Raises EncodingRefused, InvalidRequest, BodyTooLarge, ClientVanished.
    """
    require_unpacked(request)
    body = bytearray()
    async for chunk in body_of(request):
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise BodyTooLarge(MAX_REQUEST_BYTES)
    if len(body) <= LARGE_BYTES:
        return parse(bytes(body))
    return await asyncio.get_running_loop().run_in_executor(_PARSER, parse, bytes(body))


def parse(body: bytes) -> Any:
    """Parse a document. Raises InvalidRequest with the problem and its position."""
    if not body:
        raise InvalidRequest("The request needs a body, in JSON.")
    try:
        document = json.loads(
            body.decode(),
            object_pairs_hook=_each_name_once,
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
            parse_float=_parse_float,
        )
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not in UTF-8.") from None
    except ValueError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None
    if _SURROGATE_ESCAPE.search(body):
        _require_whole_characters(document)
    return document


def media_type_of(request: Request) -> str:
    """The Content-Type without its parameters."""
    return _media_type(request.headers)


def sends_file(headers: Headers) -> bool:
    """Whether the body is a file that the client reads while sending it."""
    is_empty = headers.get("content-length") == "0"
    return _media_type(headers) == OCTET_STREAM and not is_empty


def require_unpacked(request: Request) -> None:
    """Refuse a body with a Content-Encoding (RFC 9110, section 8.4), which is not supported.

    Raises EncodingRefused.
    """
    for line in request.headers.getlist("content-encoding"):
        for coding in line.split(","):
            if coding.strip().lower() not in {"", "identity"}:
                raise EncodingRefused(coding.strip())


class JsonResponse(Response):
    """An answer in JSON, which always has a body: its headers need no look at what was given."""

    media_type = JSON

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Called by Response. Header names are sent in small letters (ASGI)."""
        given = headers.items() if headers else ()
        self.raw_headers = [
            *((name.lower().encode(), text.encode("latin-1")) for name, text in given),
            (b"content-length", b"%d" % len(self.body)),
            _JSON_HEADER,
        ]


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with a value in JSON."""
    return JsonResponse(encode(value), status, headers)


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _announced_bytes(headers: Headers) -> int | None:
    """The length of the body; None if it is not announced."""
    if "transfer-encoding" in headers:
        return None
    length = headers.get("content-length", "0")
    return int(length) if length.isdigit() else None


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        repeated = _first_repeated(name for name, _ in pairs)
        raise InvalidRequest(f"The name {repeated!r} occurs twice in the body.")
    return table


def _first_repeated(names: Iterable[str]) -> str | None:
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidRequest(f"The body is not JSON: {text} is not a number.")


def _parse_int(text: str) -> int:
    if len(text) > _MAX_INTEGER_DIGITS:
        raise InvalidRequest("The body has an integer that is too large.")
    return int(text)


def _parse_float(text: str) -> float:
    number = float(text) if len(text) <= _MAX_FLOAT_DIGITS else inf
    if not isfinite(number):
        raise InvalidRequest("The body has a number that is too large, or too long.")
    return number


def _require_whole_characters(document: Any) -> None:
    """Check all names and texts. The error names the innermost field. Raises InvalidRequest."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        field, value = waiting.pop()
        match value:
            case str() if _LONE_SURROGATE.search(value):
                where = f"The field {field!r}" if field else "The body"
                raise InvalidRequest(f"{where} {_HALF_A_CHARACTER}.")
            case list():
                waiting += ((field, item) for item in value)
            case dict():
                for name, item in value.items():
                    if _LONE_SURROGATE.search(name):
                        raise InvalidRequest(f"The name {name!r} in the body {_HALF_A_CHARACTER}.")
                    waiting.append((name, item))
            case _:
                pass
