"""Parses JSON bodies in linear time.

The parser is stricter than most: a name may not occur twice, because two readers could see two
values, and a lone surrogate (RFC 8259, section 8.2) is refused, because it cannot be stored. Bodies
larger than ``LARGE_BYTES`` are parsed in a thread, so that they do not block the event loop.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from math import inf, isfinite
from typing import Any, NoReturn

from starlette.requests import Request

from imaged.api.http_errors import BodyTooLarge, MediaTypeRefused
from imaged.api.requests import body_of, media_type_of, require_unpacked
from imaged.core.errors import InvalidRequest
from imaged.core.limits import KIB, MAX_REQUEST_BYTES

JSON = "application/json"
LARGE_BYTES = 16 * KIB

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


async def json_of(request: Request) -> Any:
    """Return the parsed body, which must be ``application/json``.

    Raises MediaTypeRefused, EncodingRefused, InvalidRequest, BodyTooLarge, ClientVanished.
    """
    media_type = media_type_of(request)
    if media_type != JSON:
        raise MediaTypeRefused(media_type, [JSON])
    return await document_of(request)


async def document_of(request: Request) -> Any:
    """Return the parsed JSON body of any media type. Raises the same, except MediaTypeRefused."""
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
