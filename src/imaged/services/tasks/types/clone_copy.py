"""A clone in another store, copied by the stores themselves if they can.

A server-side copy has the same bytes, so the source's record applies to the copy; its size is
compared, and its md5 if the store reports it. If the source was damaged, so is the copy, and the
recorded checksums of the source reveal it in both. Otherwise the bytes pass through this process,
like those of an upload, and must match the source's record.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from imaged.core.errors import DataDamaged, InvalidTransition, StoreError
from imaged.core.image import Content, Image, Location
from imaged.ports.image_catalog import BlobCatalog
from imaged.ports.store import ServerSideCopy, Store, Stores
from imaged.services.damage_reporter import log_damage
from imaged.services.downloads import Downloads
from imaged.services.ingest_pipeline import StoredSource
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.stream_checks import StreamCheckFactory
from imaged.services.tasks.types.import_methods import read_chunks

COPYING = "copying"
READING_BACK = "reading back"
COPIED = "copied"  # done by the store, but not recorded yet


@dataclass(frozen=True, slots=True)
class CloneCopier:
    """Copies the bytes of an image to another store."""

    catalog: BlobCatalog
    stores: Stores
    downloads: Downloads
    check_factory: StreamCheckFactory

    async def copy(self, context: TaskContext, source: Image, store: str) -> None:
        """Copy the source's bytes. Raises UnknownStore, QuotaExceeded, DataRefused, DataDamaged,
        StoreError, ClaimLost, CatalogError.
        """
        if source.content is None:
            raise InvalidTransition(source.status, "be cloned")
        target = self.stores.pick(store)
        for location in source.locations:
            origin = self.stores.by_name.get(location.store)
            if origin and isinstance(target, ServerSideCopy) and target.can_copy_from(origin):
                await self._copy_in_store(context, (origin, location), target, source.content)
                return
        await self._stream(context, source, source.content, store)

    async def _copy_in_store(
        self,
        context: TaskContext,
        source: tuple[Store, Location],
        target: Store,
        content: Content,
    ) -> None:
        origin, there = source
        assert isinstance(target, ServerSideCopy)  # noqa: S101 - for the type checker
        await context.progress(COPYING, 0, content.size_bytes, has_own_timeout=True)
        async with context.reserve_location(target.name, content.size_bytes) as here:
            note = partial(self.catalog.record_upload_id, here.key)
            copied_bytes = await target.copy_from(origin, there.key, here.key, note)
            if copied_bytes != content.size_bytes:
                why = f"copied {copied_bytes} bytes of {there.key}, and not {content.size_bytes}"
                raise StoreError(target.name, why)
            if await target.stored_md5(here.key) not in {None, content.checksum}:
                await self._read_back(context, target, here, content)
        checksums = await self._block_checksums(there.key)
        context.set_content(replace(content, block_checksums=checksums))
        await context.progress(COPIED, content.size_bytes, content.size_bytes)

    async def _read_back(
        self, context: TaskContext, target: Store, here: Location, content: Content
    ) -> None:
        """Read a copy whose digest in the store differs. Raises DataDamaged."""
        stream_checks = self.check_factory.begin()
        stream_checks.compare(target.name, content)
        async with (
            aclosing(read_chunks(target.open(here.key))) as chunks,
            aclosing(context.counted(READING_BACK, chunks, content.size_bytes)) as counted,
            aclosing(stream_checks.of(counted)) as compared,
        ):
            try:
                async for chunk in compared:
                    del chunk
            except DataDamaged as damage:  # of the source or the copying: verification shows which
                log_damage(context.image.id, damage.problems)
                raise

    async def _block_checksums(self, key: str) -> bytes:
        """The block checksums of the source: the copy has the same blocks."""
        pages: list[bytes] = []
        while page := await self.catalog.get_block_checksums(key, len(pages)):
            pages.append(page)
        return b"".join(pages)

    async def _stream(
        self, context: TaskContext, source: Image, content: Content, store: str
    ) -> None:
        async with self.downloads.open(context.caller, source.id) as opened:
            await context.store(
                opened.chunks,
                announced_bytes=content.size_bytes,
                store=store,
                source=StoredSource(source.locations[0].store, content),
                phase=COPYING,
            )
