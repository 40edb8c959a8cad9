"""The one service that deletes bytes: whatever is doomed and due.

Images whose delay is over are expired first, which dooms the bytes that only they held. The delay
is the one configured now, not the one of the day of the delete.

No claims here. Two scrubbers on one blob do nothing worse than work twice, and what a dead one had
taken is due again by itself, when a lease would have been over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import partial

import anyio
import structlog

from imaged.core.blob import Blob, needs_recheck
from imaged.core.deletion import expire
from imaged.core.errors import CatalogError, ImagedError, StoreError, UnknownStore
from imaged.core.image import Image
from imaged.ports.catalog import Catalog
from imaged.ports.store import Store, Stores
from imaged.services.clock_guard import ClockGuard
from imaged.services.item_backoff import ItemBackoff, run_all_steps

log = structlog.get_logger()

SCRUB_BATCH = 100  # images expired, or records buried, between two looks
BLOBS_PER_SLOT = 4  # blobs taken at a time, for each that is deleted at once
QUARANTINE = timedelta(hours=24)  # of strays
BUSY_FOR = timedelta(minutes=1)  # how long a blob that was taken is hidden from others


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubberSettings:
    """When bytes and records go."""

    delay: timedelta = timedelta(hours=24)
    every: timedelta = timedelta(seconds=30)
    concurrency: int = 4
    keep_records: timedelta = timedelta(days=30)


@dataclass(slots=True)
class ScrubReport:
    """What one round did."""

    expired: int = 0  # images that can no longer be restored
    deleted: int = 0  # blobs
    deleted_bytes: int = 0
    failed: int = 0  # blobs that would not go, put off
    buried: int = 0  # records that became tombstones

    def __add__(self, other: ScrubReport) -> ScrubReport:
        sums = (getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        return ScrubReport(*sums)

    def __bool__(self) -> bool:
        return bool(self.expired or self.deleted or self.failed or self.buried)


@dataclass(frozen=True, slots=True)
class ScrubPreview:
    """What a round would do now."""

    images: Sequence[Image] = field(default_factory=tuple)  # would be expired
    blobs: Sequence[Blob] = field(default_factory=tuple)  # are doomed, due or not


class BlobScrubber:
    """Works off what is due, the oldest first."""

    def __init__(
        self,
        catalog: Catalog,
        stores: Stores,
        settings: ScrubberSettings,
        busy_for: timedelta = BUSY_FOR,
        *,
        clock: ClockGuard,
        quarantine: timedelta = QUARANTINE,
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._busy_for = busy_for
        self._clock = clock
        self.quarantine = quarantine
        self._before = ScrubReport()  # what all rounds did but the last
        self._last = ScrubReport()
        self._hanging: set[str] = set()  # stores that are left alone in this round
        self.postponed = ItemBackoff("scrubber", catalog.check)
        self.settings = settings

    @property
    def totals(self) -> ScrubReport:
        """What was done since the process began, with what the round under way has done so far."""
        return self._before + self._last

    async def run_due(self) -> ScrubReport:
        """Do all that is due, and nothing while the clock cannot be believed.

        What fails by itself is put off, and the others go on. Raises CatalogError where the catalog
        does not answer, after all that can be done.
        """
        self._before += self._last
        self._last = report = ScrubReport()
        if not await self._clock.is_reliable():
            return report
        steps = (self._redate, self._expire_due, self._delete_due, self._purge_due)
        await run_all_steps(*(partial(step, report) for step in steps))
        if report:
            log.info(
                "scrub.finished",
                expired=report.expired,
                deleted=report.deleted,
                deleted_bytes=report.deleted_bytes,
                failed=report.failed,
                buried=report.buried,
            )
        return report

    async def preview(self, limit: int = 1000) -> ScrubPreview:
        """Say what is due, and touch nothing."""
        images = await self._catalog.find_expirable(self.settings.delay, limit)
        return ScrubPreview(images, await self._catalog.list_doomed(limit))

    async def _redate(self, _: ScrubReport) -> None:
        """A clock that was ahead has dated some of it so far ahead that it would never be due."""
        if count := await self._catalog.redate(self.quarantine):
            log.warning("moments.corrected", rows=count)

    async def _expire_due(self, report: ScrubReport) -> None:
        while images := await self._find_expirable():
            if not await self._clock.is_reliable():
                return
            expired = 0
            for image in images:
                done = await self.postponed.try_item(image.id, partial(self._expire, image))
                expired += bool(done)
            report.expired += expired
            if not expired:  # others are at it
                return

    async def _find_expirable(self) -> Sequence[Image]:
        limit = SCRUB_BATCH + len(self.postponed)
        found = await self._catalog.find_expirable(self.settings.delay, limit)
        return [image for image in found if not self.postponed.is_waiting(image.id)]

    async def _expire(self, image: Image) -> bool:
        try:
            await self._catalog.modify_image(image.id, expire(image))
        except CatalogError:
            raise
        except ImagedError:
            return False  # restored meanwhile, or another scrubber was faster
        return True

    async def _delete_due(self, report: ScrubReport) -> None:
        at_once = self.settings.concurrency
        self._hanging.clear()
        while blobs := await self._catalog.take_doomed(at_once * BLOBS_PER_SLOT, self._busy_for):
            if not await self._clock.is_reliable():
                return  # they are due again when they are no longer hidden
            limiter = anyio.Semaphore(at_once)
            async with anyio.create_task_group() as tasks:
                for blob in blobs:
                    tasks.start_soon(self._delete, blob, report, limiter)

    async def _delete(self, blob: Blob, report: ScrubReport, limiter: anyio.Semaphore) -> None:
        async with limiter:
            if blob.store in self._hanging:
                return  # it is due again when it is no longer hidden
            await self.postponed.try_item(blob.key, partial(self._delete_row, blob, report))

    async def _delete_row(self, blob: Blob, report: ScrubReport) -> None:
        try:
            await self._delete_bytes(blob, report)
        except CatalogError as error:  # it is due again when it is no longer hidden
            log.warning("blob.row_kept", key=blob.key, error=str(error))

    async def _delete_bytes(self, blob: Blob, report: ScrubReport) -> None:
        try:
            store = self._stores.pick(blob.store)
            await self._delete_in_time(store, blob)
        except (StoreError, UnknownStore) as error:
            await self._put_off(blob, str(error), report)
            return
        if needs_recheck(blob, store.settles_after):
            await self._catalog.recheck_later(blob.key, store.settles_after)
        else:
            await self._catalog.remove_blob(blob.key)
        report.deleted += 1
        report.deleted_bytes += blob.size_bytes
        log.debug("blob.deleted", store=blob.store, key=blob.key, bytes=blob.size_bytes)

    async def _delete_in_time(self, store: Store, blob: Blob) -> None:
        """A disk that hangs never ends a deletion by itself, and others wait for it."""
        seconds = self._busy_for.total_seconds()
        try:
            with anyio.fail_after(seconds):
                await store.delete(blob.key, blob.upload_id)
        except TimeoutError:
            self._hanging.add(store.name)
            raise StoreError(store.name, f"did not delete it within {seconds:g} s") from None

    async def _put_off(self, blob: Blob, why: str, report: ScrubReport) -> None:
        report.failed += 1
        await self._catalog.reschedule(blob.key, why)
        if why != blob.last_error:  # an error that goes on is told once
            log.error("blob.delete_failed", store=blob.store, key=blob.key, error=why)

    async def _purge_due(self, report: ScrubReport) -> None:
        while await self._clock.is_reliable():
            buried = await self._catalog.purge(self.settings.keep_records, SCRUB_BATCH)
            report.buried += len(buried)
            if not buried:
                return
