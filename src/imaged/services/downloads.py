"""Reads the data of images for clients, and reports damage: a mark on the image, and log events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

import structlog

from imaged.core.access import Caller, require_readable
from imaged.core.block import TransferBudget
from imaged.core.byte_range import ByteRange, ByteSpan
from imaged.core.errors import DataDamaged, ImagedError, StoreError, UnknownStore
from imaged.core.image import Content, Image
from imaged.core.integrity import blocks_of, mark_damage
from imaged.ports.image_catalog import BlobCatalog, ImageCatalog
from imaged.ports.store import SocketSender, Stores
from imaged.services.delegation import DelegatedFile, Delegation
from imaged.services.traffic import Traffic
from imaged.services.verified_reads import (
    BlockCache,
    RecordedChecksums,
    StoredBlob,
    read_plain,
    read_verified,
)

log = structlog.get_logger()


#: Sends the next bytes to a socket; see ``ports/store.py``, SocketSender.
SendTo = Callable[[int, int], Awaitable[int]]


class DownloadCatalog(ImageCatalog, BlobCatalog, Protocol):
    """Images, and the checksums of their blocks."""


@dataclass(frozen=True, slots=True)
class Download:
    """An open image. ``span`` is None if it has no data."""

    image: Image
    span: ByteSpan | None
    chunks: AsyncIterator[bytes]
    send_to: SendTo | None = None  # instead of the chunks, if it was asked for and is possible
    file: DelegatedFile | None = None  # that a proxy sends, instead of the chunks


@dataclass(slots=True, eq=False)
class Downloads:
    """``GET …/file``. ``verify``: whether blocks are compared with their checksums.

    ``delegation``: how a proxy is told to send what is not verified; None: it is not.
    """

    catalog: DownloadCatalog
    stores: Stores
    budget: TransferBudget
    traffic: Traffic = field(default_factory=Traffic)
    _: KW_ONLY
    verify: bool = True
    delegation: Delegation | None = None

    async def get_readable(self, caller: Caller, image_id: str) -> Image:
        """Return an image whose data the caller may read. Raises ImageNotFound, DataForbidden."""
        return require_readable(caller, await self.catalog.get_image(image_id))

    @asynccontextmanager
    async def open(
        self,
        caller: Caller,
        image_id: str,
        wanted: ByteRange | None = None,
        kept: BlockCache | None = None,
        *,
        to_socket: bool = False,
        for_proxy: bool = False,
    ) -> AsyncIterator[Download]:
        """Open an image's data; an open download protects it from deletion.

        ``kept``: the block cache of the connection. ``to_socket``: the caller can let the store
        send to a socket; ``for_proxy``: it answers requests that a proxy may have passed on.

        Raises ImageNotFound, DataForbidden, UnsatisfiableRange, StoreError, and DataDamaged if the
        first block is damaged, before the first byte. Iterating over the chunks raises StoreError
        or DataDamaged instead of ending early. If DataDamaged ends the block, the image is marked
        and the damage is logged.
        """
        image = await self.get_readable(caller, image_id)
        if image.content is None:
            yield Download(image, None, _nothing())
            return
        span = _span(image.content, wanted)
        with self.traffic.downloading():
            file = self._delegated(image) if for_proxy and span.length else None
            if (to_socket or file) and not self.verify and span.length:
                async with self._blob(image, image.content).open(span.start) as reader:
                    if file is not None:
                        yield Download(image, span, _nothing(), file=file)
                        return
                    if isinstance(reader, SocketSender):
                        yield Download(image, span, _nothing(), self._counted_sender(reader))
                        return
            async with (
                DamageReporter(self.catalog).reporting(image),
                aclosing(self._read(image, image.content, span, kept)) as chunks,
            ):
                first = await anext(chunks, b"")
                async with aclosing(self._counted(first, chunks)) as counted:
                    yield Download(image, span, counted)

    async def _read(
        self, image: Image, content: Content, span: ByteSpan, kept: BlockCache | None
    ) -> AsyncGenerator[bytes]:
        blob = self._blob(image, content)
        checksums = RecordedChecksums(self.catalog, blob.location.key)
        is_verified = (
            self.verify and span.length and await checksums.of(blocks_of(span).start) is not None
        )
        if is_verified:
            reading = read_verified(blob, span, checksums, self.budget, kept or BlockCache())
        else:
            reading = read_plain(blob, span, self.budget)
        async with aclosing(reading) as chunks:
            async for chunk in chunks:
                yield chunk

    def _blob(self, image: Image, content: Content) -> StoredBlob:
        """Where the data is. Raises StoreError if its store is no longer configured."""
        location = image.locations[0]
        try:
            store = self.stores.pick(location.store)
        except UnknownStore as error:
            raise StoreError(location.store, "is no longer configured") from error
        return StoredBlob(store, location, content)

    def _delegated(self, image: Image) -> DelegatedFile | None:
        if self.verify or self.delegation is None:
            return None
        return self.delegation.file(image.locations[0])

    def _counted_sender(self, reader: SocketSender) -> SendTo:
        async def send_to(socket: int, length: int) -> int:
            sent = await reader.send_to(socket, length)
            self.traffic.sent_bytes += sent
            return sent

        return send_to

    async def _counted(self, first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """All chunks, each counted after it was consumed."""
        if first:
            yield first
            self.traffic.sent_bytes += len(first)
        async for chunk in rest:
            yield chunk
            self.traffic.sent_bytes += len(chunk)


class DamageReporter:
    """Informs operators that stored bytes differ from their record."""

    def __init__(self, catalog: ImageCatalog) -> None:
        self._catalog = catalog

    async def note(self, image: Image, problems: Sequence[str]) -> None:
        """Mark the image with the result of a complete verification; the mark is never removed by
        this method.

        Raises ImageNotFound, CatalogError.
        """
        log_damage(image.id, problems)
        await self._catalog.modify_image(image.id, mark_damage(image, problems))

    @asynccontextmanager
    async def reporting(self, image: Image) -> AsyncIterator[None]:
        """Report the damage that ends the block, and raise it again.

        An image that is marked already keeps its mark and is not reported again, because every
        download finds the same damage. If the mark cannot be written, the block still raises the
        damage.
        """
        try:
            yield
        except DataDamaged as damage:
            if image.damage is None:
                try:
                    await self.note(image, damage.problems)
                except ImagedError as error:
                    log.warning("image.mark_failed", image_id=image.id, error=str(error))
            raise


def log_damage(image_id: str, problems: Sequence[str]) -> None:
    """Log the problems for the operator."""
    for problem in problems:
        log.error("image.damaged", image_id=image_id, problem=problem)


def _span(content: Content, wanted: ByteRange | None) -> ByteSpan:
    if wanted is None:
        return ByteSpan(0, content.size_bytes)
    return wanted.within(content.size_bytes)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # makes it a generator
