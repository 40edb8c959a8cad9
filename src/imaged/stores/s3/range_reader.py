"""One range of a blob in a bucket: one streamed answer, requested again if it breaks off.

While the caller uses what it read, the next bytes are fetched already, ``READ_AHEAD_BYTES`` at
most, or the whole range (``prefetch``). An answer that ends early or breaks off is continued by
another one, from the next byte of the same object (``If-Match``). Each success resets the attempts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from imaged.core.errors import StoreError
from imaged.core.limits import KIB
from imaged.stores.s3.client import Parameters, S3Client, S3Response
from imaged.stores.s3.errors import LIBRARY_ERRORS

READ_AHEAD_BYTES = 512 * KIB
PARTIAL_CONTENT = 206


class TruncatedBody(ConnectionError):
    """An answer had fewer bytes than the blob. Retryable, as a lost connection is."""


class RangeReader:
    """Reads one range of a blob forward, by one request if none breaks off.

    ``found``: the answer to HEAD. ``attempts``: see ``S3Client.call``.
    """

    def __init__(
        self,
        client: S3Client,
        key: str,
        found: S3Response,
        span: range,
        *,
        attempts: int | None = None,
    ) -> None:
        self._size_bytes: int = found["ContentLength"]  # of the whole blob
        self._end = span.stop
        self._attempts = attempts
        self._client = client
        self._key = key
        self._etag: str | None = found.get("ETag")
        self._offset = span.start  # of the next byte to read
        self._ahead: deque[bytes | memoryview] = deque()
        self._ahead_bytes = 0
        self._fetching: asyncio.Task[None] | None = None
        self._body: Any = None

    @property
    def left_bytes(self) -> int:
        """The bytes not read yet."""
        return self._end - self._offset

    @property
    def is_fetched(self) -> bool:
        """Whether no read has to wait."""
        return self._ahead_bytes >= self.left_bytes

    def prefetch(self) -> None:
        """Begin to fetch all of it into memory, before the first read."""
        self._fetching = asyncio.create_task(self._fetch(self.left_bytes))

    async def read(self, length: int) -> bytes:
        """Return the next ``length`` bytes, of those left. Raises StoreError."""
        if self._fetching is not None:
            await asyncio.shield(self._fetching)
            self._fetching = None
        await self._fetch(length)
        data = self._take(length)
        if self._ahead_bytes < min(READ_AHEAD_BYTES, self.left_bytes):
            self._fetching = asyncio.create_task(self._fetch(READ_AHEAD_BYTES))
        return data

    async def close(self) -> None:
        """End what is being fetched, and release the connection."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        self._drop()
        self._ahead.clear()

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
        """Buffer this many bytes, fewer at the end of the range."""
        length = min(length, self.left_bytes)
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
        is_part = start > 0 or self._end < self._size_bytes
        last = "" if self._end == self._size_bytes else self._end - 1
        wanted: Parameters = {"Range": f"bytes={start}-{last}"} if is_part else {}
        if self._etag is not None:
            wanted["IfMatch"] = self._etag
        answer = await self._client.call_once("get_object", self._key, **wanted)
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        length = answer.get("ContentLength")
        if is_part and status != PARTIAL_CONTENT:
            answer["Body"].close()
            why = f"gives all of {self._key} ({status}), instead of the requested range"
            raise StoreError(self._client.store, why)
        if length not in {None, self._end - start}:
            answer["Body"].close()
            why = f"gave other bytes of {self._key} than requested, or changed it meanwhile"
            raise StoreError(self._client.store, why)
        return answer["Body"]

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()
