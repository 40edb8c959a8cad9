"""``clone``: another image with the same bytes.

Within a store it is instant and needs no space, because bytes never change: both images hold them,
and they are deleted with the last one. From another service they are fetched (``remote_image``).

Between stores they are copied, by the stores themselves if they can. A server-side copy has the
same bytes, so the source's record applies to the copy; its size is compared, and its md5 if the
store reports it. If the source was damaged, so is the copy, and the recorded checksums of the
source reveal it in both. Otherwise the bytes pass through this process, like those of an upload,
and must match the source's record.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated
from uuid import uuid4

from msgspec import Meta, field

from imaged.core import edits
from imaged.core.access import Caller, require_readable
from imaged.core.errors import (
    DataDamaged,
    InvalidInput,
    InvalidTransition,
    StoreError,
    UnknownStore,
)
from imaged.core.image import Content, Image, Location
from imaged.core.lifecycle import require_data
from imaged.core.task import TaskFacts
from imaged.ports.image_catalog import BlobCatalog, ImageCatalog
from imaged.ports.store import ServerSideCopy, Store, Stores
from imaged.services.downloads import Downloads, log_damage
from imaged.services.ingest_pipeline import StoredSource
from imaged.services.tasks.context import READING_BACK, StreamCheckFactory, TaskContext
from imaged.services.tasks.task_type import (
    Accepted,
    Example,
    ImageId,
    ImageProperties,
    ImageResult,
    TaskInput,
)
from imaged.services.tasks.types.import_methods import read_chunks
from imaged.services.tasks.types.new_image import new_clone
from imaged.services.tasks.types.remote_image import RemoteImageClient

SHARING = "sharing"
COPYING = "copying"
COPIED = "copied"  # done by the store, but not recorded yet
ASKING = "asking the other service"
#: The formats of a draft until the other service reports them; the draft is invisible.
PLACEHOLDER_FORMATS = {"disk_format": "raw", "container_format": "bare"}


class CloneInput(TaskInput):
    """The source image, and the attributes that differ. Exactly one of the two sources is given."""

    image_id: ImageId = ""
    source_image_url: Annotated[
        str,
        Meta(description="An image in another Image API v2 service: https://HOST/v2/images/ID."),
    ] = ""
    source_token: Annotated[
        str,
        Meta(
            pattern=r"^[!-~]*\Z",
            max_length=16_384,
            description="Sent to that service as X-Auth-Token. It is never shown, and is deleted "
            "when the task has ended.",
        ),
    ] = ""
    image_properties: ImageProperties = field(default_factory=dict)
    store: Annotated[
        str,
        Meta(description="The store for the data of the clone; default: the store of the source."),
    ] = ""


@dataclass(frozen=True, slots=True)
class CloneCopier:
    """Copies the bytes of an image to another store."""

    catalog: BlobCatalog
    stores: Stores
    downloads: Downloads
    check_factory: StreamCheckFactory

    async def copy(self, context: TaskContext, source: Image, store: str) -> None:
        """Copy the source's bytes. Raises UnknownStore, QuotaExceeded, DataRefused, DataDamaged,
        StoreError, ClaimLost, CatalogError, and InvalidTransition if it has no data.
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
            if content.checksum and await target.stored_md5(here.key) not in {
                None,
                content.checksum,
            }:
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
            aclosing(stream_checks.of_chunks(counted)) as compared,
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


@dataclass(frozen=True, slots=True)
class Clone:
    """The task type."""

    catalog: ImageCatalog
    stores: Stores
    copying: CloneCopier
    remote: RemoteImageClient

    facts = TaskFacts("clone", secrets=frozenset({"source_token"}))
    input = CloneInput
    example = Example(
        CloneInput(
            image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5",
            image_properties={"name": "debian 13, for tests"},
        ),
        ImageResult(image_id="0c1a6a54-3f53-4f5b-9d0c-4f8c3f7a1b20"),
    )

    async def accept(self, caller: Caller, asked: CloneInput) -> Accepted:
        """Check the source, and describe the new image.

        Raises ImageNotFound, DataForbidden, InvalidTransition, InvalidInput, and the errors of
        ``edits.new_image``.
        """
        self._require_one_source(asked)
        if asked.source_image_url:
            draft = edits.new_image(
                caller, str(uuid4()), {**PLACEHOLDER_FORMATS, **asked.image_properties}
            )
            await self.remote.check(asked.source_image_url, caller)
            placeholder = edits.new_image(caller, draft.id, PLACEHOLDER_FORMATS)
            return Accepted(new_image=draft, placeholder=placeholder)
        source = await self._source(caller, asked.image_id)
        draft = new_clone(caller, source, asked.image_properties)
        return Accepted(source.id, draft, is_brief=_shares(source, asked.store))

    async def run(self, context: TaskContext, asked: CloneInput) -> ImageResult:
        """Share the bytes, copy them, or fetch them."""
        if asked.source_image_url:
            await self._fetch(context, asked)
        else:
            await self._clone(context, asked)
        return ImageResult(image_id=context.image.id)

    async def _clone(self, context: TaskContext, asked: CloneInput) -> None:
        source = await self._source(context.caller, asked.image_id)
        if _shares(source, asked.store):
            await context.progress(SHARING)
            context.share(source)  # the ledger refuses if the bytes were doomed meanwhile
            return
        try:
            await self.copying.copy(context, source, asked.store)
        except StoreError:
            await self._source(context.caller, asked.image_id)  # an error of this call says more
            raise

    async def _fetch(self, context: TaskContext, asked: CloneInput) -> None:
        await context.progress(ASKING, has_own_timeout=True)
        caller, token = context.caller, asked.source_token
        remote = await self.remote.describe(
            caller, asked.source_image_url, token, context.schema.properties.keys()
        )
        model = new_clone(caller, remote.model, asked.image_properties)
        with remote.address.refused_answers():
            model = context.schema.checked(model)
        await context.describe(model)
        await self.remote.store(context, remote, token, asked.store or None)

    async def _source(self, caller: Caller, image_id: str) -> Image:
        source = require_readable(caller, await self.catalog.get_image(image_id.lower()))
        require_data(source.status, "be cloned")
        return source

    def _require_one_source(self, asked: CloneInput) -> None:
        if not asked.image_id and not asked.source_image_url:
            raise InvalidInput("image_id", "is missing, and so is 'source_image_url'")
        if asked.image_id and asked.source_image_url:
            raise InvalidInput("source_image_url", "cannot be given beside 'image_id'")
        if asked.source_token and not asked.source_image_url:
            raise InvalidInput("source_token", "needs 'source_image_url'")
        try:
            self.stores.pick(asked.store or None)
        except UnknownStore as error:
            raise InvalidInput("store", f"is none of {', '.join(self.stores.by_name)}") from error


def _shares(source: Image, store: str) -> bool:
    """Whether the source's bytes are in the store of the clone; empty: any store."""
    return not store or store in {location.store for location in source.locations}
