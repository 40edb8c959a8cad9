"""Deletes doomed blobs that are due; the only service that deletes bytes.

Images whose delay is over are expired first, which dooms the bytes that only they held. The delay
is the one configured now, not the one at the time of the deletion.

No claims are used. Two scrubbers on one blob only work twice, and a blob taken by a dead one is due
again after the duration of a lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from imaged.core.blob import Blob, BlobState
from imaged.core.deletion import expire, purge
from imaged.core.errors import CatalogError
from imaged.core.image import Image
from imaged.ports.catalog import Catalog
from imaged.ports.store import Stores
from imaged.services.blob_deleter import BlobDeleter
from imaged.services.clock_guard import ClockGuard
from imaged.services.periodic import ItemBackoff, is_made, run_all_steps

log = structlog.get_logger()

PROGRESS_SECONDS = 60  # between two lines about the progress of a long round
SCRUB_BATCH = 100  # images expired, or records purged, between two checks
BLOBS_PER_SLOT = 4  # blobs taken at first, for each concurrent deletion
MAX_BLOBS = 512  # taken at a time, when deletions are quick


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubberSettings:
    """The delays of deletion and the concurrency."""

    delay: timedelta
    every: timedelta
    concurrency: int
    keep_records: timedelta
    quarantine: timedelta  # of strays
    busy_for: timedelta  # a taken blob is hidden from other scrubbers


@dataclass(slots=True)
class ScrubReport:
    """The result of one round."""

    expired: int = 0  # images that can no longer be restored
    deleted: int = 0  # blobs
    deleted_bytes: int = 0
    failed: int = 0  # postponed blobs whose deletion failed
    buried: int = 0  # records replaced by tombstones

    def __add__(self, other: ScrubReport) -> ScrubReport:
        sums = (getattr(self, one.name) + getattr(other, one.name) for one in fields(self))
        return ScrubReport(*sums)

    def __bool__(self) -> bool:
        """Whether anything was done; failures have lines of their own in the log."""
        return bool(self.expired or self.deleted or self.buried)


@dataclass(frozen=True, slots=True)
class ScrubPreview:
    """The work that a round would do now."""

    images: Sequence[Image]  # to be expired
    blobs: Sequence[Blob]  # doomed and due
    later: Sequence[Blob]  # doomed and not due, the next one first
    waits_for_clock: bool  # nothing is deleted until the clock is trusted again


class BlobScrubber:
    """Deletes what is due, the oldest first."""

    def __init__(
        self,
        catalog: Catalog,
        stores: Stores,
        settings: ScrubberSettings,
        clock: ClockGuard,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._before = ScrubReport()  # the sum of all rounds before the last
        self._last = ScrubReport()
        self._told_at = 0.0  # when this round last logged its progress, by the event loop's clock
        self.postponed = ItemBackoff("scrubber", catalog.check)
        self._deleter = BlobDeleter(catalog, stores, settings, self.postponed)

    @property
    def settings(self) -> ScrubberSettings:
        """What holds from the next batch on."""
        return self._deleter.settings

    @settings.setter
    def settings(self, settings: ScrubberSettings) -> None:
        self._deleter.settings = settings

    @property
    def totals(self) -> ScrubReport:
        """The work since the start of the process, including the current round."""
        return self._before + self._last

    async def run_due(self) -> ScrubReport:
        """Delete all that is due, or nothing while the clock is not trusted.

        An item that fails is postponed, and the others continue. Raises CatalogError if the catalog
        does not answer, after all that can be done.
        """
        self._before += self._last
        self._last = report = ScrubReport()
        if not await self._clock.is_reliable():
            return report
        began_at = self._told_at = anyio.current_time()
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
                duration_s=round(anyio.current_time() - began_at, 3),
                lag_s=await self._lag_seconds(),
            )
        return report

    async def preview(self, limit: int = 1000) -> ScrubPreview:
        """The work that is due, without changing anything. ``limit``: of images, and of blobs."""
        images = await self._catalog.find_expirable(self.settings.delay, limit)
        doomed = await self._catalog.list_doomed(limit)
        now, is_reliable = await self._clock.peek()
        due = [blob for blob in doomed if blob.due_at and blob.due_at <= now]
        later = doomed[len(due) :]
        return ScrubPreview(images, due, later, waits_for_clock=not is_reliable)

    async def purge(self, image_id: str) -> ScrubReport:
        """Scrub one deleted image now, whatever its delay and the clock.

        Bytes that cannot be deleted are put off, like those of a round. Raises ImageNotFound,
        NotPurgeable, CatalogError.
        """
        report = ScrubReport(expired=1)
        image = await self._catalog.modify_image(image_id, purge)
        with bound_contextvars(image_id=image.id):
            for location in image.locations:
                blob = await self._catalog.get_blob(location.key)
                if blob is not None and blob.state is BlobState.DOOMED:  # no clone needs it
                    await self._deleter.delete_alone(blob, report)
        return report

    async def _redate(self, _: ScrubReport) -> None:
        """Redate rows that a clock that was ahead has dated so far ahead that they would never be
        due.
        """
        if count := await self._catalog.redate(self.settings.quarantine):
            log.warning("moments.corrected", rows=count)

    async def _expire_due(self, report: ScrubReport) -> None:
        while images := await self._find_expirable():
            if not await self._clock.is_reliable():
                return
            works = {image.id: partial(self._expire, image) for image in images}
            results = await self.postponed.try_items(works, self.settings.concurrency)
            expired = sum(map(bool, results))
            report.expired += expired
            await self._tell_progress(report)
            if not expired:  # other instances are processing them
                return

    async def _find_expirable(self) -> Sequence[Image]:
        limit = SCRUB_BATCH + len(self.postponed)
        found = await self._catalog.find_expirable(self.settings.delay, limit)
        return [image for image in found if not self.postponed.is_waiting(image.id)]

    async def _expire(self, image: Image) -> bool:
        """False if it was restored meanwhile, or another scrubber was faster."""
        with bound_contextvars(image_id=image.id):
            return await is_made(self._catalog.modify_image(image.id, expire(image)))

    async def _delete_due(self, report: ScrubReport) -> None:
        self._deleter.begin_round()
        few = limit = self.settings.concurrency * BLOBS_PER_SLOT
        while blobs := await self._catalog.take_doomed(limit, self.settings.busy_for):
            if not await self._clock.is_reliable():
                return  # they are due again when they are no longer hidden
            began_at = anyio.current_time()
            await self._deleter.delete(blobs, report)
            is_quick = anyio.current_time() - began_at < self._quick_seconds
            limit = min(limit * 2, MAX_BLOBS) if is_quick else few
            await self._tell_progress(report)

    @property
    def _quick_seconds(self) -> float:
        """The time of a batch after which the next one may be twice as large, so that no batch
        takes as long as its blobs are hidden from other scrubbers.
        """
        return self.settings.busy_for.total_seconds() / 8

    async def _purge_due(self, report: ScrubReport) -> None:
        while await self._clock.is_reliable():
            buried = await self._catalog.purge(self.settings.keep_records, SCRUB_BATCH)
            report.buried += len(buried)
            await self._tell_progress(report)
            if not buried:
                return

    async def _tell_progress(self, report: ScrubReport) -> None:
        """Log what a long round has done and what is left, once a minute."""
        if anyio.current_time() - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = anyio.current_time()
        summary = await self._catalog.summarize()
        log.info(
            "scrub.progress",
            expired=report.expired,
            deleted=report.deleted,
            deleted_bytes=report.deleted_bytes,
            failed=report.failed,
            left=summary.doomed_blobs,
            lag_s=round(summary.scrub_lag.total_seconds()),
        )

    async def _lag_seconds(self) -> int | None:
        try:
            summary = await self._catalog.summarize()
        except CatalogError:  # logged as an outage; what the round did is logged nevertheless
            return None
        return round(summary.scrub_lag.total_seconds())
