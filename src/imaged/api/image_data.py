"""The data of an image: ``/v2/images/{image_id}/file``.

Chunks pass through unchanged in both directions, without copying or joining. An error in the middle
of an answer closes the connection, so that no client mistakes a part for the whole.
"""

from __future__ import annotations

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from imaged.api.data_body import receive_data
from imaged.api.range_header import parse_range
from imaged.api.requests import OCTET_STREAM, caller_of, image_id_of
from imaged.core.access import Caller
from imaged.core.byte_range import ByteRange, ByteSpan
from imaged.core.errors import ClientVanished, ImagedError
from imaged.core.image import Content
from imaged.services.block_cache import BLOCK_CACHE, BlockCache
from imaged.services.downloads import Download, Downloads
from imaged.services.uploads import Uploads


class ImageData:
    """Reads and writes the data."""

    def __init__(self, uploads: Uploads, downloads: Downloads) -> None:
        self._uploads = uploads
        self._downloads = downloads

    async def put(self, request: Request) -> Response:
        """Answer 204 once the bytes are durable."""
        return await receive_data(request, self._uploads.upload)

    async def get(self, request: Request) -> ASGIApp:
        """Answer 200 or 206 with the bytes, or 204 if there are none."""
        header = None if "if-range" in request.headers else request.headers.get("range")
        wanted = parse_range(header)
        return _Data(self._downloads, caller_of(request), image_id_of(request), wanted)

    async def head(self, request: Request) -> Response:
        """Answer 200 without the bytes, or 204 if there are none.

        A range is ignored: it applies to GET only (RFC 9110, section 14.2).
        """
        image = await self._downloads.get_readable(caller_of(request), image_id_of(request))
        if image.content is None:
            return Response(status_code=204)
        whole = ByteSpan(0, image.content.size_bytes)
        return Response(headers=_headers(image.content, whole, is_part=False))


class _Data:
    """A response that keeps the image's data open while it is sent."""

    def __init__(
        self, downloads: Downloads, caller: Caller, image_id: str, wanted: ByteRange | None
    ) -> None:
        self._downloads = downloads
        self._asked = caller, image_id, wanted
        self._is_part = wanted is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept: BlockCache | None = scope.get("state", {}).get(BLOCK_CACHE)
        async with self._downloads.open(*self._asked, kept) as download:
            content, span = download.image.content, download.span
            if content is None or span is None:
                await Response(status_code=204)(scope, receive, send)
                return
            await send(self._start(content, span))
            await _stream(download, receive, send)

    def _start(self, content: Content, span: ByteSpan) -> dict[str, object]:
        headers = _headers(content, span, is_part=self._is_part)
        return {
            "type": "http.response.start",
            "status": 206 if self._is_part else 200,
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        }


def _headers(content: Content, span: ByteSpan, *, is_part: bool) -> dict[str, str]:
    headers = {
        "Content-Type": OCTET_STREAM,
        "Content-Length": str(span.length),
        "Content-MD5": content.checksum,  # in hex, of the whole image: as clients expect
        "Content-Disposition": "attachment",
        "Accept-Ranges": "bytes",
    }
    if is_part:
        last = span.start + span.length - 1
        headers["Content-Range"] = f"bytes {span.start}-{last}/{content.size_bytes}"
    return headers


async def _stream(download: Download, receive: Receive, send: Send) -> None:
    """Send the bytes while the client is connected. Raises ClientVanished, StoreError."""
    failure: ImagedError | None = ClientVanished()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch, receive, tasks.cancel_scope)
        try:
            async for chunk in download.chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            failure = None
        except ImagedError as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel on a disconnect: the server silently drops writes after it; only ``receive`` reports
    it.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
