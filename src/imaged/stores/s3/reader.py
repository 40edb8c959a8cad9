"""An open blob in a bucket: one streamed answer, requested again if it breaks off.

While the caller uses what it read, the next bytes are fetched already, ``READ_AHEAD_BYTES`` at
most. An answer that ends early or breaks off is continued by another one, from the next byte of the
same object (``If-Match``). Each success resets the attempts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Self

from imaged.core.errors import StoreError
from imaged.core.limits import KIB
from imaged.stores.s3.client import Parameters, S3Client, S3Response
from imaged.stores.s3.errors import LIBRARY_ERRORS

READ_AHEAD_BYTES = 512 * KIB
PARTIAL_CONTENT = 206


class TruncatedBody(ConnectionError):
    """An answer had fewer bytes than the blob. Retryable, as a lost connection is."""


class S3Reader:
    """Reads forward from an offset; closed at the end of ``async with``. Is a ``BlobReader``.

    ``found``: the answer to HEAD. ``attempts``: see ``S3Client.call``.
    """

    def __init__(
        self,
        client: S3Client,
        key: str,
        found: S3Response,
        start: int = 0,
        *,
        attempts: int | None = None,
    ) -> None:
        self.size_bytes: int = found["ContentLength"]
        self._attempts = attempts
        self._client = client
        self._key = key
        self._etag: str | None = found.get("ETag")
        self._offset = start  # of the next byte to read
        self._ahead: deque[bytes | memoryview] = deque()
        self._ahead_bytes = 0
        self._fetching: asyncio.Task[None] | None = None
        self._body: Any = None

    async def read(self, length: int) -> bytes:
        """Return the next ``length`` bytes, fewer at the end of the blob. Raises StoreError."""
        length = min(length, self.size_bytes - self._offset)
        if length <= 0:
            return b""
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
            self._fetching = None
        await self._fetch(length)
        data = self._take(length)
        if self._offset < self.size_bytes:
            self._fetching = asyncio.create_task(self._fetch(READ_AHEAD_BYTES))
        return data

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release the connection."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        self._drop()

    def _take(self, length: int) -> bytes:
        self._offset += length
        self._ahead_bytes -= length
        taken: list[bytes | memoryview] = []
        while length:
            piece = self._ahead.popleft()
            if len(piece) > length:
                self._ahead.appendleft(memoryview(piece)[length:])
                piece = memoryview(piece)[:length]
            taken.append(piece)
            length -= len(piece)
        return b"".join(taken)

    async def _fetch(self, length: int) -> None:
        """Buffer this many bytes, fewer at the end of the blob."""
        length = min(length, self.size_bytes - self._offset)
        attempts = self._client.attempts(self._attempts)
        while self._ahead_bytes < length:
            try:
                data = await self._next(length - self._ahead_bytes)
            except LIBRARY_ERRORS as error:
                self._drop()
                if not attempts.may_retry(error):
                    raise self._client.errors.translate("get_object", self._key, error) from error
                await attempts.pause()
            else:
                attempts.reset_failures()
                self._ahead.append(data)
                self._ahead_bytes += len(data)

    async def _next(self, length: int) -> bytes:
        if self._body is None:
            self._body = await self._request(self._offset + self._ahead_bytes)
        try:
            data: bytes = await self._body.read(length)
        except RuntimeError as error:  # the library's error for a closed connection
            raise TruncatedBody from error
        if not data:
            raise TruncatedBody
        return data

    async def _request(self, start: int) -> Any:
        wanted: Parameters = {"Range": f"bytes={start}-"} if start else {}
        if self._etag is not None:
            wanted["IfMatch"] = self._etag
        answer = await self._client.call_once("get_object", self._key, **wanted)
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        length = answer.get("ContentLength")
        if start and status != PARTIAL_CONTENT:
            answer["Body"].close()
            why = f"gives all of {self._key} ({status}), instead of the requested range"
            raise StoreError(self._client.store, why)
        if length not in {None, self.size_bytes - start}:
            answer["Body"].close()
            why = f"gave other bytes of {self._key} than requested, or changed it meanwhile"
            raise StoreError(self._client.store, why)
        return answer["Body"]

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()
