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

from imaged.core.blob import Blob, BlobState, image_id_of_key, needs_recheck
from imaged.core.deletion import expire, purge
from imaged.core.errors import CatalogError, StoreError, UnknownStore
from imaged.core.image import Image
from imaged.ports.catalog import Catalog
from imaged.ports.store import Store, Stores
from imaged.services.clock_guard import ClockGuard
from imaged.services.periodic import ItemBackoff, is_made, run_all_steps

log = structlog.get_logger()

STORE_CHECK_SECONDS = 2.0
PROGRESS_SECONDS = 60  # between two lines about the progress of a long round
SCRUB_BATCH = 100  # images expired, or records purged, between two checks
BLOBS_PER_SLOT = 4  # blobs taken at a time, for each concurrent deletion


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
        self._stores = stores
        self._clock = clock
        self._before = ScrubReport()  # the sum of all rounds before the last
        self._last = ScrubReport()
        self._hanging: set[str] = set()  # stores that are skipped in this round
        self._out: set[str] = set()  # likewise, because they do not work at all
        self._told_at = 0.0  # when this round last logged its progress, by the event loop's clock
        self.postponed = ItemBackoff("scrubber", catalog.check)
        self.settings = settings

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
                    await self._delete_bytes(blob, report)
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
            expired = 0
            for image in images:
                with bound_contextvars(image_id=image.id):
                    done = await self.postponed.try_item(image.id, partial(self._expire, image))
                expired += bool(done)
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
        return await is_made(self._catalog.modify_image(image.id, expire(image)))

    async def _delete_due(self, report: ScrubReport) -> None:
        at_once = self.settings.concurrency
        self._hanging.clear()
        self._out.clear()
        while blobs := await self._catalog.take_doomed(
            at_once * BLOBS_PER_SLOT, self.settings.busy_for
        ):
            if not await self._clock.is_reliable():
                return  # they are due again when they are no longer hidden
            limiter = anyio.Semaphore(at_once)
            async with anyio.create_task_group() as tasks:
                for blob in blobs:
                    tasks.start_soon(self._delete, blob, report, limiter)
            await self._tell_progress(report)

    async def _delete(self, blob: Blob, report: ScrubReport, limiter: anyio.Semaphore) -> None:
        async with limiter:
            if blob.store in self._hanging | self._out:
                return  # it is due again when it is no longer hidden
            with bound_contextvars(image_id=image_id_of_key(blob.key)):
                await self.postponed.try_item(blob.key, partial(self._delete_row, blob, report))

    async def _delete_row(self, blob: Blob, report: ScrubReport) -> None:
        try:
            await self._delete_bytes(blob, report)
        except CatalogError as error:  # it is due again when it is no longer hidden
            log.debug("blob.row_kept", key=blob.key, error=str(error))

    async def _delete_bytes(self, blob: Blob, report: ScrubReport) -> None:
        try:
            store = self._stores.pick(blob.store)
        except UnknownStore as error:
            await self._put_off(blob, str(error), report)
            return
        try:
            await self._delete_in_time(store, blob)
        except StoreError as error:
            if await self._is_out(store):  # the blob is due again when it is no longer hidden
                report.failed += 1
            else:
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
        """Delete with a timeout: a call to a disk that hangs never returns, and would block the
        others.
        """
        seconds = self.settings.busy_for.total_seconds()
        try:
            with anyio.fail_after(seconds):
                await store.delete(blob.key, blob.upload_id)
        except TimeoutError:
            self._hanging.add(store.name)
            raise StoreError(store.name, f"did not delete it within {seconds:g} s") from None

    async def _is_out(self, store: Store) -> bool:
        """Whether the store itself does not work: then its other blobs are skipped in this round,
        and nothing is said of them, because the outage is logged.
        """
        if store.name in self._hanging:
            return False
        if store.name not in self._out:
            try:
                with anyio.fail_after(STORE_CHECK_SECONDS):
                    await store.check()
            except (StoreError, TimeoutError):
                self._out.add(store.name)
        return store.name in self._out

    async def _put_off(self, blob: Blob, why: str, report: ScrubReport) -> None:
        report.failed += 1
        await self._catalog.reschedule(blob.key, why)
        if why != blob.last_error:  # a persisting error is logged once
            log.error("blob.delete_failed", store=blob.store, key=blob.key, error=why)

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
