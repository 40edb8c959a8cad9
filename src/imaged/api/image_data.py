"""The data of an image: ``/v2/images/{image_id}/file``.

Chunks pass through unchanged in both directions, without copying or joining. An error in the middle
of an answer closes the connection, so that no client mistakes a part for the whole.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Awaitable
from contextlib import aclosing
from typing import Protocol

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imaged.api.bodies import body_of, media_type_of, require_unpacked
from imaged.api.conditions import image_condition
from imaged.api.http_errors import LengthRequired, MediaTypeRefused
from imaged.api.range_header import parse_range
from imaged.api.resource import caller_of, image_id_of, store_of
from imaged.core.access import Caller
from imaged.core.attributes import OCTET_STREAM, REPLACE_HEADER
from imaged.core.byte_range import ByteRange, ByteSpan
from imaged.core.errors import ClientVanished, ImagedError, InvalidRequest
from imaged.core.image import Content
from imaged.core.precondition import Precondition
from imaged.services.delegation import DelegatedFile
from imaged.services.downloads import Download, Downloads, SendTo
from imaged.services.ingest import Ingester
from imaged.services.sent_downloads import SentBytes, SentDownloads
from imaged.services.verified_reads import BLOCK_CACHE, BlockCache

SIZE_HEADER = "x-openstack-image-size"
SEND_TO = "imaged.response.send_to"  # of server/file_sender.py

_BYTE_COUNT = re.compile(r"\d{1,18}", re.ASCII)


class ImageData:
    """Reads and writes the data."""

    def __init__(self, uploads: Ingester, downloads: Downloads, sent: SentDownloads) -> None:
        self._uploads = uploads
        self._downloads = downloads
        self._sent = sent

    async def put(self, request: Request) -> Response:
        """Answer 204 once the bytes are durable."""
        return await receive_data(request, self._uploads.upload)

    async def get(self, request: Request) -> ASGIApp:
        """Answer 200 or 206 with the bytes, or 204 if there are none."""
        header = None if "if-range" in request.headers else request.headers.get("range")
        wanted = parse_range(header)
        asked = (caller_of(request), image_id_of(request), wanted)
        return _Data(self._downloads, self._sent, *asked)

    async def head(self, request: Request) -> Response:
        """Answer 200 without the bytes, or 204 if there are none.

        A range is ignored: it applies to GET only (RFC 9110, section 14.2).
        """
        image = await self._downloads.get_readable(caller_of(request), image_id_of(request))
        if image.content is None:
            return Response(status_code=204)
        whole = ByteSpan(0, image.content.size_bytes)
        return Response(headers=_headers(image.content, whole, is_part=False))


class BodyHandler(Protocol):
    """Makes a body durable. Its arguments are the caller, the image, the body, its size in bytes
    and its store, if given; ``replaces``: it is another file on purpose, after a broken upload;
    ``condition``: on the record.
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
        condition: Precondition | None,
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
            condition=image_condition(request.headers, caller_of(request), exists=False),
        )
    return Response(status_code=204)


class _Data:
    """A response that keeps the image's data open while it is sent."""

    def __init__(
        self,
        downloads: Downloads,
        sent: SentDownloads,
        caller: Caller,
        image_id: str,
        wanted: ByteRange | None,
    ) -> None:
        self._downloads = downloads
        self._sent = sent
        self._caller = caller
        self._asked = caller, image_id, wanted
        self._is_part = wanted is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept: BlockCache | None = scope.get("state", {}).get(BLOCK_CACHE)
        to_socket = SEND_TO in scope.get("extensions", {})
        opening = self._downloads.open(*self._asked, kept, to_socket=to_socket, for_proxy=True)
        async with opening as download:
            content, span = download.image.content, download.span
            if content is None or span is None:
                await Response(status_code=204)(scope, receive, send)
                return
            with self._sent.recording(self._caller, download.image, span.length) as sent:
                if download.file is not None:
                    await _told_to_proxy(content, download.file)(scope, receive, send)
                    sent.count = span.length  # as far as is known here
                    return
                await send(self._start(content, span))
                await _stream(download, sent, receive, send)

    def _start(self, content: Content, span: ByteSpan) -> dict[str, object]:
        headers = _headers(content, span, is_part=self._is_part)
        return {
            "type": "http.response.start",
            "status": 206 if self._is_part else 200,
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        }


def _told_to_proxy(content: Content, file: DelegatedFile) -> Response:
    """The answer without the bytes, which the proxy sends: all of them, or the range."""
    headers = _headers(content, ByteSpan(0, content.size_bytes), is_part=False)
    del headers["Content-Length"]
    return Response(headers={**headers, file.header: file.value})


def _headers(content: Content, span: ByteSpan, *, is_part: bool) -> dict[str, str]:
    headers = {
        "Content-Type": OCTET_STREAM,
        "Content-Length": str(span.length),
        "Content-Disposition": "attachment",
        "Accept-Ranges": "bytes",
    }
    if content.checksum is not None:
        headers["Content-MD5"] = content.checksum  # in hex, of the whole image: as clients expect
    if is_part:
        last = span.start + span.length - 1
        headers["Content-Range"] = f"bytes {span.start}-{last}/{content.size_bytes}"
    return headers


async def _stream(download: Download, sent: SentBytes, receive: Receive, send: Send) -> None:
    """Send the bytes while the client is connected. Raises ClientVanished, StoreError."""
    failure: ImagedError | None = ClientVanished()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, receive, tasks.cancel_scope)
        try:
            if download.send_to is not None and download.span is not None:
                await send(_to_socket(download.send_to, download.span.length, sent))
                if sent.count < download.span.length:
                    raise ClientVanished
            async for chunk in download.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                sent.count += len(chunk)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            failure = None
        except ImagedError as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _to_socket(send_to: SendTo, count: int, sent: SentBytes) -> Message:
    """The message that lets the store send; see ``server/file_sender.py``."""

    async def counted(socket: int, length: int) -> int:
        size_bytes = await send_to(socket, length)
        sent.count += size_bytes
        return size_bytes

    return {"type": SEND_TO, "send_to": counted, "count": count}


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel on a disconnect: the server silently drops writes after it; only ``receive`` reports
    it.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


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
