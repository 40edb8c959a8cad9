"""Deletes the bytes of doomed blobs, and then their rows.

A store that can (``BatchDeletion``) deletes many blobs in one call, and one transaction then
removes their rows. What that leaves, because a file, a row or a lock is in the way, is deleted
alone: so it holds up no other blob, and its error is its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from imaged.core.blob import Blob, image_id_of_key, needs_recheck
from imaged.core.errors import CatalogError, StoreError, UnknownStore
from imaged.ports.catalog import Catalog
from imaged.ports.store import BatchDeletion, Store, Stores
from imaged.services.periodic import ItemBackoff

if TYPE_CHECKING:
    from imaged.services.scrubber import ScrubberSettings, ScrubReport

log = structlog.get_logger()

STORE_CHECK_SECONDS = 2.0


class BlobDeleter:
    """Deletes blobs, several at once."""

    def __init__(
        self, catalog: Catalog, stores: Stores, settings: ScrubberSettings, postponed: ItemBackoff
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._postponed = postponed
        self._hanging: set[str] = set()  # stores that are skipped in this round
        self._out: set[str] = set()  # likewise, because they do not work at all
        self.settings = settings

    def begin_round(self) -> None:
        """Try stores again that were skipped."""
        self._hanging.clear()
        self._out.clear()

    async def delete(self, blobs: Sequence[Blob], report: ScrubReport) -> None:
        """Delete these blobs, or put off those that cannot be deleted."""
        by_store: dict[str, list[Blob]] = defaultdict(list)
        for blob in blobs:
            by_store[blob.store].append(blob)
        limiter = anyio.Semaphore(self.settings.concurrency)
        async with anyio.create_task_group() as tasks:
            for name, those in by_store.items():
                tasks.start_soon(self._delete_in_store, name, those, report, limiter)

    async def delete_alone(self, blob: Blob, report: ScrubReport) -> None:
        """Delete a blob, or put it off. Raises CatalogError."""
        try:
            store = self._stores.pick(blob.store)
        except UnknownStore as error:
            await self._put_off(blob, str(error), report)
            return
        try:
            with self._time_limit(store):
                await store.delete(blob.key, blob.upload_id)
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
        _count_deleted([blob], report)

    async def _delete_in_store(
        self, name: str, blobs: Sequence[Blob], report: ScrubReport, limiter: anyio.Semaphore
    ) -> None:
        if self._is_skipped(name):
            return  # they are due again when they are no longer hidden
        store = self._stores.by_name.get(name)
        if isinstance(store, BatchDeletion) and len(blobs) > 1:
            try:
                blobs = await self._delete_batch(store, store, blobs, report)
            except CatalogError as error:  # they are due again when they are no longer hidden
                log.debug("blob.row_kept", key=blobs[0].key, error=str(error))
                return
        async with anyio.create_task_group() as tasks:
            for blob in blobs:
                tasks.start_soon(self._delete_one_of_many, blob, report, limiter)

    async def _delete_batch(
        self, store: Store, deletion: BatchDeletion, blobs: Sequence[Blob], report: ScrubReport
    ) -> Sequence[Blob]:
        """Returns the blobs that are to be deleted alone. Raises CatalogError."""
        keys = [blob.key for blob in blobs if not self._postponed.is_waiting(blob.key)]
        try:
            with self._time_limit(store):
                gone = await deletion.delete_batch(keys)
        except StoreError as error:
            if store.name not in self._hanging:
                return blobs
            with bound_contextvars(image_id=image_id_of_key(blobs[0].key)):
                await self._put_off(blobs[0], str(error), report)
            return ()  # the others are due again when they are no longer hidden
        left = {blob.key for blob in blobs}.difference(gone)
        try:
            left.update(await self._catalog.remove_blobs(gone))
        except CatalogError:
            await self._catalog.check()
            left.update(gone)  # the catalog answers: one of the rows is refused
        _count_deleted([blob for blob in blobs if blob.key not in left], report)
        return [blob for blob in blobs if blob.key in left]

    async def _delete_one_of_many(
        self, blob: Blob, report: ScrubReport, limiter: anyio.Semaphore
    ) -> None:
        async with limiter:
            if self._is_skipped(blob.store):
                return
            with bound_contextvars(image_id=image_id_of_key(blob.key)):
                await self._postponed.try_item(blob.key, partial(self._delete_row, blob, report))

    async def _delete_row(self, blob: Blob, report: ScrubReport) -> None:
        try:
            await self.delete_alone(blob, report)
        except CatalogError as error:  # it is due again when it is no longer hidden
            log.debug("blob.row_kept", key=blob.key, error=str(error))

    async def _put_off(self, blob: Blob, why: str, report: ScrubReport) -> None:
        report.failed += 1
        await self._catalog.reschedule(blob.key, why)
        if why != blob.last_error:  # a persisting error is logged once
            log.error("blob.delete_failed", store=blob.store, key=blob.key, error=why)

    @contextmanager
    def _time_limit(self, store: Store) -> Iterator[None]:
        """A call to a disk that hangs never returns, and would hold up others.

        Raises StoreError.
        """
        seconds = self.settings.busy_for.total_seconds()
        try:
            with anyio.fail_after(seconds):
                yield
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

    def _is_skipped(self, store: str) -> bool:
        return store in self._hanging or store in self._out


def _count_deleted(blobs: Sequence[Blob], report: ScrubReport) -> None:
    for blob in blobs:
        report.deleted += 1
        report.deleted_bytes += blob.size_bytes
        log.debug("blob.deleted", store=blob.store, key=blob.key, bytes=blob.size_bytes)
