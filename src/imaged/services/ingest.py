"""Streams bytes into a store: an upload, staged data, or the data of an import.

A writer never deletes bytes. A writer that fails leaves a doomed row; so does one that was frozen
so long that its row was removed before its bytes arrived.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

import anyio
import structlog

from imaged.core.access import Caller, permitted_claim
from imaged.core.blob import image_id_of_key, make_key
from imaged.core.block import TransferBudget
from imaged.core.broken_upload import replacing, without_broken_upload
from imaged.core.errors import CatalogError
from imaged.core.image import (
    BrokenUpload,
    ClaimedChange,
    Content,
    Image,
    Location,
    unless_formats_changed,
)
from imaged.core.limits import require_announced
from imaged.core.policy_rules import Rule
from imaged.core.precondition import Precondition, claimed_on_condition
from imaged.core.uploading import (
    begin_staging,
    begin_upload,
    stage_data,
    store_data,
    write_to,
)
from imaged.lanes import LaneFactory, ThreadLane
from imaged.ports.disk_image import InspectorFactory
from imaged.ports.image_catalog import BlobCatalog
from imaged.ports.store import Stores
from imaged.services.claimed import ClaimedImage, retry_until_available
from imaged.services.claims import Claims
from imaged.services.ingest_pipeline import IngestPipeline, IngestSettings, StoredSource
from imaged.services.space import RESERVE_AHEAD_BYTES, SpaceQueue, SpaceReserver
from imaged.services.stream_checks import gather_blocks
from imaged.services.traffic import Traffic

log = structlog.get_logger()

DOOM_SECONDS = 10  # how long a failed writer tries to leave its row

FinishChange = Callable[[Content], ClaimedChange]


@dataclass(slots=True, eq=False)
class Ingester:
    """Writes all bytes that are received: uploads, staged data, and the bodies of tasks."""

    catalog: BlobCatalog
    stores: Stores
    claims: Claims
    settings: IngestSettings
    _: KW_ONLY
    budget: TransferBudget
    inspector: InspectorFactory
    lanes: LaneFactory = ThreadLane
    slice_bytes: int = RESERVE_AHEAD_BYTES
    traffic: Traffic = field(default_factory=Traffic)
    space: SpaceQueue = field(default_factory=SpaceQueue)

    async def upload(
        self,
        caller: Caller,
        image_id: str,
        body: AsyncIterable[bytes],
        announced_bytes: int | None = None,
        store: str | None = None,
        *,
        replaces: bool = False,
        condition: Precondition | None = None,
    ) -> Image:
        """``PUT …/file``: make the body the data of a queued image; on return, it is durable.

        ``replaces``: another file on purpose, after a broken upload. Raises ImageNotFound,
        NotPermitted, the errors of ``condition``, InvalidTransition, FormatsUnset, RetryMismatch,
        UnknownStore and TooLarge before anything is read; DataRefused, QuotaExceeded, ClaimLost,
        ImageDeleted, StoreError, CatalogError, and the errors of ``body``.
        """
        location = self._locate(image_id, store, announced_bytes)
        uploading = claimed_on_condition(condition, begin_upload(location, announced_bytes))
        begin = self._remembering(
            permitted_claim(caller, Rule.UPLOAD_IMAGE, uploading), replaces=replaces
        )
        return await self._write(image_id, body, announced_bytes, location, (begin, store_data))

    async def stage(
        self,
        caller: Caller,
        image_id: str,
        body: AsyncIterable[bytes],
        announced_bytes: int | None = None,
        store: str | None = None,
        *,
        replaces: bool = False,
        condition: Precondition | None = None,
    ) -> Image:
        """``PUT …/stage``: keep the body for an import. Raises the errors of ``upload``."""
        location = self._locate(image_id, store, announced_bytes)
        staging = claimed_on_condition(
            condition, begin_staging(location, announced_bytes, replaces=replaces)
        )
        begin = self._remembering(
            permitted_claim(caller, Rule.MODIFY_IMAGE, staging), replaces=replaces
        )
        return await self._write(image_id, body, announced_bytes, location, (begin, stage_data))

    async def store(
        self,
        work: ClaimedImage,
        body: AsyncIterable[bytes],
        *,
        announced_bytes: int | None = None,
        store: str | None = None,
        source: StoredSource | None = None,
    ) -> Content:
        """Write a body for work in progress; the caller finishes the work.

        ``source``: where the body is read from, if it was stored before. Raises DataDamaged if it
        differs from its record; UnknownStore, TooLarge, DataRefused, QuotaExceeded, ClaimLost,
        StoreError, CatalogError, and the errors of ``body``.
        """
        require_announced(announced_bytes, self.settings.max_size_bytes)
        with self.traffic.uploading():
            async with self.reserve_location(work, store, announced_bytes) as location:
                return await self._write_through(
                    work, location, body, announced_bytes, source=source
                )

    @asynccontextmanager
    async def reserve_location(
        self, work: ClaimedImage, store: str | None = None, size_bytes: int | None = None
    ) -> AsyncIterator[Location]:
        """A location for the bytes of work in progress, with ``size_bytes`` reserved.

        ``size_bytes``: None if it is unknown. If the block fails, a row is left so that the bytes
        are deleted. Raises UnknownStore, QuotaExceeded, ClaimLost.
        """
        location = self._locate(work.image.id, store, size_bytes)
        await work.change(write_to(location, grows=size_bytes is None))
        async with self._doom_on_failure(location):
            yield location

    async def _write(
        self,
        image_id: str,
        body: AsyncIterable[bytes],
        announced_bytes: int | None,
        location: Location,
        changes: tuple[ClaimedChange, FinishChange],
    ) -> Image:
        """Write a body between two changes of the image, and return the image after it."""
        require_announced(announced_bytes, self.settings.max_size_bytes)
        begin, end = changes
        with self.traffic.uploading():
            async with (
                AsyncExitStack() as afterwards,
                self.claims.on_image(image_id, begin) as work,
            ):
                afterwards.callback(self.space.wake, work.image.owner)
                await afterwards.enter_async_context(self._doom_on_failure(location))
                before, judged = work.image.broken_upload, work.image.formats
                content = await self._write_through(
                    work, location, body, announced_bytes, before=before
                )
                await work.finish(unless_formats_changed(judged, end(content)))
        return work.image

    def _locate(self, image_id: str, store: str | None, size_bytes: int | None) -> Location:
        """A new location in the store. Raises UnknownStore."""
        key = make_key(image_id, uuid4())
        return Location(self.stores.pick(store).name, key, size_bytes or 0)

    def _remembering(self, begin: ClaimedChange, *, replaces: bool) -> ClaimedChange:
        """Begin with or without the record of a broken upload."""
        if not self.settings.remembers_broken:
            return without_broken_upload(begin)
        return replacing(begin) if replaces else begin

    async def _write_through(
        self,
        work: ClaimedImage,
        location: Location,
        body: AsyncIterable[bytes],
        announced_bytes: int | None,
        *,
        source: StoredSource | None = None,
        before: BrokenUpload | None = None,
    ) -> Content:
        """Pass the body through the pipeline into the store, and return its content.

        ``before``: the record of a broken upload; None: nothing is recorded.
        """
        pipeline = IngestPipeline(
            work.image,
            announced_bytes,
            self.settings,
            self.inspector,
            self.lanes,
            policy=lambda: self.settings.formats,
            source=source,
            before=before,
        )
        if before is not None:
            work.on_failure = lambda image: replace(image, broken_upload=pipeline.remembered)
        async with (
            pipeline.running(),
            aclosing(gather_blocks(body, self.budget, pipeline.unfinished)) as blocks,
            aclosing(pipeline.check(blocks)) as good_blocks,
            aclosing(self._reserver.of(good_blocks, work, location, pipeline)) as paid_blocks,
        ):
            place = self.stores.pick(location.store)
            record = partial(self._note_upload, location.key)
            await place.put(location.key, paid_blocks, announced_bytes, record)
        return pipeline.content()

    @property
    def _reserver(self) -> SpaceReserver:
        wait = self.settings.wait_for_space
        return SpaceReserver(self.space, self.traffic, self.slice_bytes, wait)

    async def _note_upload(self, key: str, upload_id: str) -> None:
        """Record the store's own identifier of the write. Raises BlobGone, CatalogError."""
        await retry_until_available(partial(self.catalog.record_upload_id, key, upload_id))

    @asynccontextmanager
    async def _doom_on_failure(self, location: Location) -> AsyncIterator[None]:
        """Leave a doomed row if the block fails, because its bytes may have outlived their row."""
        async with AsyncExitStack() as on_failure:
            on_failure.push_async_callback(self._doom, location)
            yield
            on_failure.pop_all()

    async def _doom(self, location: Location) -> None:
        """Doom the bytes that this attempt may have left; an existing row stays unchanged."""
        leave = partial(self.catalog.add_stray, location, quarantine=timedelta(0))
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(DOOM_SECONDS):
                await retry_until_available(leave)
        except (CatalogError, TimeoutError) as error:
            why = str(error) or "the catalog does not answer"
            image_id = image_id_of_key(location.key)
            log.warning("blob.row_missing", key=location.key, image_id=image_id, error=why)
