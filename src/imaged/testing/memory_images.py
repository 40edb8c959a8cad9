"""The images of the catalog in memory, and all that changes with one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from anyio.lowlevel import checkpoint
from structlog.contextvars import get_contextvars

from imaged.core import ledger
from imaged.core.blob import Blob
from imaged.core.claim import Claim
from imaged.core.errors import ImageExists, ImageNotFound
from imaged.core.history import HISTORY_LIMIT, Actor, HistoryEntry, ImageHistory, entry_of
from imaged.core.image import Change, Image
from imaged.core.lifecycle import Status
from imaged.core.notification import image_notifications
from imaged.core.query import (
    ImagePage,
    ImageQuery,
    page_of_images,
    page_within,
)
from imaged.core.task import Task
from imaged.ports.image_catalog import HeldClaim
from imaged.testing.memory_accounts import MemoryAccounts
from imaged.testing.memory_outbox import MemoryOutbox
from imaged.testing.memory_timestamps import Clock

T = TypeVar("T")
MomentOf = Callable[[T], datetime | None]


class MemoryImages(MemoryAccounts, MemoryOutbox):
    """The records that one change of an image may write, and the calls for images."""

    def __init__(self, clock: Clock) -> None:
        MemoryAccounts.__init__(self)
        MemoryOutbox.__init__(self, clock)
        self.history: dict[str, list[HistoryEntry]] = {}  # by the id of the image
        self.tombstones: set[str] = set()
        self.blobs: dict[str, Blob] = {}
        self.block_checksums: dict[str, bytes] = {}  # by the key of the blob
        self.tasks: dict[str, Task] = {}
        self.leases: dict[Claim, tuple[datetime, HeldClaim]] = {}  # lapsed until then

    async def add_image(self, image: Image) -> Image:
        """Store a new image; returns it with its timestamps. Raises ImageExists."""
        await checkpoint()
        if image.id in self.images or image.id in self.tombstones:
            raise ImageExists(image.id)
        now = self._clock.now()
        image = ledger.created(image, now)
        self._charge(None, image)
        self.images[image.id] = image
        self._add_entry(None, image, now)
        self._add_events(image_notifications(None, image), now)
        if image.task is not None:
            self.tasks[image.task.id] = image.task
        return image

    async def get_image(self, image_id: str) -> Image:
        """Return the image. Raises ImageNotFound."""
        await checkpoint()
        return self._image(image_id)

    async def get_history(self, image_id: str) -> ImageHistory:
        """Return the image with its history. Raises ImageNotFound."""
        await checkpoint()
        return ImageHistory(self._image(image_id), self.history.get(image_id, ()))

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Return the beginning of the page that ``core/query`` describes, up to this long."""
        await checkpoint()
        return page_within(page_of_images(list(self.images.values()), query), max_bytes)

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a change and its consequences."""
        await checkpoint()
        return self._modify(image_id, change)

    def _modify(self, image_id: str, change: Change) -> Image:
        """Compute all records first, then write."""
        before = self._image(image_id)
        after = change(before)
        if after is before:
            return before
        now = self._clock.now()
        keys = ledger.touched(before, after)
        known = {key: self.blobs[key] for key in keys if key in self.blobs}
        after, rows = ledger.settle(before, after, known, now)
        self._charge(before, after)
        self.blobs.update({blob.key: blob for blob in rows})
        if after.task is not None:
            self.tasks[after.task.id] = after.task
        self.block_checksums.update(ledger.block_checksums_of(after))
        self._add_events(image_notifications(before, after, now), now)
        after = ledger.without_ended_task(ledger.without_block_checksums(after))
        self.images[image_id] = after
        self._add_entry(before, after, now)
        self._move_claim(before.claim, after.claim, lambda claim: HeldClaim(claim, image_id))
        return after

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """Restorable images in pending_delete for at least this long, the longest first."""
        await checkpoint()
        waiting = self._in(Status.PENDING_DELETE)
        restorable = [image for image in waiting if image.deleted_from is not None]
        return self._due(restorable, lambda image: image.since, delay)[:limit]

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images in uploading whose last change is at least this long ago."""
        await checkpoint()
        idle = [image for image in self._in(Status.UPLOADING) if image.claim is None]
        return self._due(idle, lambda image: image.updated_at, idle_for)[:limit]

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images whose upload broke off at least this long ago, the longest first."""
        await checkpoint()
        unclaimed = [image for image in self.images.values() if image.claim is None]
        return self._due(unclaimed, _broken_at, idle_for)[:limit]

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """Replace the records of images deleted at least this long ago by tombstones."""
        await checkpoint()
        gone = self._due(self._in(Status.DELETED), lambda image: image.since, deleted_for)
        purged = [image.id for image in gone[:limit]]
        for image_id in purged:
            del self.images[image_id]
            self.history.pop(image_id, None)
        self.tombstones.update(purged)
        return purged

    def _add_entry(self, before: Image | None, after: Image, at: datetime) -> None:
        entry = entry_of(before, after, Actor.of(get_contextvars()), at)
        if entry is not None:
            entries = [*self.history.get(after.id, ()), entry]
            self.history[after.id] = entries[-HISTORY_LIMIT:]

    def _image(self, image_id: str) -> Image:
        try:
            return self.images[image_id]
        except KeyError:
            raise ImageNotFound(image_id) from None

    def _in(self, status: Status) -> list[Image]:
        return [image for image in self.images.values() if image.status is status]

    def _move_claim(
        self, before: Claim | None, after: Claim | None, held: Callable[[Claim], HeldClaim]
    ) -> None:
        if before == after:
            return
        if before is not None:
            del self.leases[before]
        if after is not None:
            self.leases[after] = (self._clock.now() + after.lease, held(after))

    def _due(
        self, records: Iterable[T], when: MomentOf[T], ago: timedelta = timedelta(0)
    ) -> list[T]:
        """Those whose timestamp is at least this long ago, the earliest first."""
        latest = self._clock.now() - ago
        dated = [(moment, record) for record in records if (moment := when(record)) is not None]
        dated.sort(key=lambda pair: pair[0])
        return [record for moment, record in dated if moment <= latest]


def _broken_at(image: Image) -> datetime | None:
    return None if image.broken_upload is None else image.broken_upload.at
