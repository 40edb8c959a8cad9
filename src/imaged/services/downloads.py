"""Data that a client reads from an image."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from imaged.core.access import Caller, require_readable
from imaged.core.byte_range import ByteRange, ByteSpan
from imaged.core.errors import BlobMissing, StoreError, UnknownStore
from imaged.core.image import Content, Image, Location
from imaged.ports.catalog import Catalog
from imaged.ports.store import BlobReader, Store, Stores
from imaged.services.budget import Budget, Sending
from imaged.services.damage import DamageReports
from imaged.services.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Download:
    """An open image. ``span`` is None where it has no data."""

    image: Image
    span: ByteSpan | None
    chunks: AsyncIterator[bytes]


class Downloads:
    """``GET …/file``."""

    def __init__(
        self, catalog: Catalog, stores: Stores, budget: Budget, traffic: Traffic | None = None
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._budget = budget
        self._traffic = traffic or Traffic()
        self._damage = DamageReports(catalog)

    async def look(self, caller: Caller, image_id: str) -> Image:
        """Return an image whose data the caller may read. Raises ImageNotFound, DataForbidden."""
        return require_readable(caller, await self._catalog.get_image(image_id))

    @asynccontextmanager
    async def open(
        self, caller: Caller, image_id: str, wanted: ByteRange | None = None
    ) -> AsyncIterator[Download]:
        """Open an image's data; nothing is deleted under an open download.

        Raises ImageNotFound, DataForbidden, UnsatisfiableRange, StoreError before the first byte.
        Iterating over the chunks raises StoreError rather than end early. DataDamaged that ends
        the block is about this image: it is marked, and the operator is told.
        """
        image = await self.look(caller, image_id)
        if image.content is None:
            yield Download(image, None, _nothing())
            return
        span = _span(image.content, wanted)
        location = image.locations[0]
        with self._traffic.downloading(), Sending(self._budget) as sending:
            async with (
                self._damage.reporting(image),
                self._store_of(location).open(location.key, span.start) as reader,
            ):
                _require_whole(location, image.content, reader)
                async with aclosing(self._read(location, reader, span, sending)) as chunks:
                    yield Download(image, span, chunks)

    def _store_of(self, location: Location) -> Store:
        try:
            return self._stores.pick(location.store)
        except UnknownStore as error:
            raise StoreError(location.store, "is no longer configured") from error

    async def _read(
        self, location: Location, reader: BlobReader, span: ByteSpan, sending: Sending
    ) -> AsyncGenerator[bytes]:
        left = span.length
        while left:
            length = min(left, self._budget.block_bytes)
            sending.take(length)
            chunk = await reader.read(length)
            if not chunk:
                raise StoreError(location.store, f"lost the end of {location.key}")
            left -= len(chunk)
            yield chunk
            self._traffic.sent_bytes += len(chunk)


def _span(content: Content, wanted: ByteRange | None) -> ByteSpan:
    if wanted is None:
        return ByteSpan(0, content.size_bytes)
    return wanted.within(content.size_bytes)


def _require_whole(location: Location, content: Content, reader: BlobReader) -> None:
    """Bytes that are not all there are not sent as if they were."""
    if reader.size_bytes == 0 < content.size_bytes:
        raise BlobMissing(location.store, location.key)
    if reader.size_bytes != content.size_bytes:
        raise StoreError(
            location.store,
            f"has {reader.size_bytes} bytes of {location.key}, and not {content.size_bytes}",
        )


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # makes it a generator
