"""The marker of a bucket: an object below its prefix (``core/place_marker.py``).

A bucket is not mounted, so its marker changes only when an operator has another catalog take it
over. It is read again if the last read is more than half a minute ago; uploads and deletes make no
call of their own for it.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf

import anyio

from imaged.core.block import Block
from imaged.core.errors import BlobExists, StoreError
from imaged.core.place_marker import (
    MARKER_NAME,
    MAX_MARKER_BYTES,
    ExpectedMarker,
    Marker,
    PlaceKind,
    write_marker_text,
)
from imaged.stores.s3.client import S3Client
from imaged.stores.s3.contents import find_object
from imaged.stores.s3.errors import ConditionalWritesUnsupported
from imaged.stores.s3.parts import Part
from imaged.stores.s3.reader import S3Reader

MARKER_CACHE_SECONDS = 30.0  # how long a marker that matched is not read again


class BucketMarker(ExpectedMarker):
    """Guards a bucket by its marker. Is a ``MarkedPlace``."""

    def __init__(self, kind: PlaceKind, name: str, client: S3Client) -> None:
        settings = client.settings
        where = f"s3://{settings.bucket}/{settings.root} at {settings.where}"
        super().__init__(kind, name, where, client.store)
        self._client = client
        self._cached_until = -inf

    async def read_marker(self) -> Marker | None:
        """The present marker. Raises StoreError, MarkerRefused.

        Makes few attempts, so an unavailable service is reported soon: start-up and checks call
        this.
        """
        return await self._read(self._client.settings.attempts)

    async def write_marker(self, marker: Marker, *, replace: bool = False) -> Marker:
        """Write the marker; returns the marker that is then present. Raises StoreError."""
        text = write_marker_text(marker)
        with suppress(BlobExists):
            await self._put(text, once=not replace)
        found = await self.read_marker()
        if found is None:
            raise StoreError(self._client.store, f"does not keep its marker in {self.where}")
        return found

    def expect(self, marker: Marker) -> None:
        """From now on, refuse writes and deletes unless this marker is present."""
        super().expect(marker)
        self._cached_until = -inf

    async def require_expected(self) -> None:
        """Raises WrongPlace if the marker is missing or another one."""
        if self._expected is None or anyio.current_time() < self._cached_until:
            return
        self.require_same(await self._read(attempts=None))
        self._cached_until = anyio.current_time() + MARKER_CACHE_SECONDS

    async def _read(self, attempts: int | None) -> Marker | None:
        """``attempts``: see ``S3Client.call``."""
        found = await find_object(self._client, MARKER_NAME, attempts)
        if found is None:
            return None
        async with S3Reader(self._client, MARKER_NAME, found, attempts=attempts) as reader:
            return self.parse(await reader.read(MAX_MARKER_BYTES))

    async def _put(self, text: bytes, *, once: bool) -> None:
        """``once``: do not replace one. On a service without conditional writes, the last of two
        concurrent writers wins, and the first notices at its next read.
        """
        part = Part(len(text))
        part.take(Block([text]))
        checksum = await part.checksum(self._client.settings.checksum)
        if once and self._client.supports_conditional_writes:
            try:
                await self._client.call(
                    "put_object", MARKER_NAME, body=part, IfNoneMatch="*", **checksum
                )
            except ConditionalWritesUnsupported:
                self._client.supports_conditional_writes = False
            else:
                return
        if once and await self.read_marker() is not None:
            return
        await self._client.call("put_object", MARKER_NAME, body=part, **checksum)
