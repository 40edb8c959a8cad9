"""A catalog in memory: the readable specification of all others, used by the simulation.

Every call waits once and then runs to its end without waiting, so it is atomic. The dictionaries
are public, so that tests can insert, count and audit. Images, tasks, events and the
installation are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from anyio.lowlevel import checkpoint

from imaged.core import blob as blob_rules
from imaged.core import ledger
from imaged.core.blob import Blob, BlobState
from imaged.core.claim import Claim, InstanceId
from imaged.core.clock import CLOCK_TOLERANCE, redate_blob
from imaged.core.errors import BlobGone
from imaged.core.image import Image, Location
from imaged.core.integrity import is_damaged, pages_of
from imaged.core.place_marker import warnings_of
from imaged.core.summary import Summary
from imaged.ports.image_catalog import HeldClaim
from imaged.testing import memory_summary
from imaged.testing.memory_installation import MemoryInstallation
from imaged.testing.memory_outbox import redate_event
from imaged.testing.memory_tasks import MemoryTasks
from imaged.testing.memory_timestamps import (
    Clock,
    redate_image,
    redate_instance,
    redate_records,
    redate_task,
)


class MemoryCatalog(MemoryTasks, MemoryInstallation):
    """Keeps the catalog as long as the process lives."""

    def __init__(self, clock: Clock) -> None:
        MemoryTasks.__init__(self, clock)
        MemoryInstallation.__init__(self, clock)

    async def check(self) -> None:
        """Always succeeds."""
        await checkpoint()

    # blobs

    async def get_blob(self, key: str) -> Blob | None:
        """Return the ledger's row, if it exists."""
        await checkpoint()
        return self.blobs.get(key)

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """Return a page of the checksums of a blob's blocks, if they are recorded."""
        await checkpoint()
        return dict(pages_of(self.block_checksums.get(key, b""))).get(page)

    async def set_block_checksums(self, key: str, checksums: bytes) -> None:
        """Record the checksums of all blocks of a complete blob."""
        await checkpoint()
        blob = self.blobs.get(key)
        if blob is not None and blob.state is BlobState.KEPT:
            self.block_checksums[key] = checksums

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """Take blobs that are due, the longest due first. They are due again after ``busy_for``."""
        await checkpoint()
        now = self._clock.now()
        due = self._due(self.blobs.values(), lambda blob: blob.due_at)
        taken = [blob_rules.start_deletion(blob, now, busy_for) for blob in due[:limit]]
        self.blobs.update({blob.key: blob for blob in taken})
        return taken

    async def list_doomed(self, limit: int) -> Sequence[Blob]:
        """Doomed blobs, due or not, the longest due first; takes none."""
        await checkpoint()
        doomed = [(blob.due_at, blob.key) for blob in self.blobs.values() if blob.due_at]
        return [self.blobs[key] for _, key in sorted(doomed)[:limit]]

    async def record_upload_id(self, key: str, upload_id: str) -> None:
        """Record the store's own id of a write. Raises BlobGone."""
        await checkpoint()
        if key not in self.blobs:
            raise BlobGone(key)
        self.blobs[key] = blob_rules.record_upload_id(self.blobs[key], upload_id)

    async def recheck_later(self, key: str, after: timedelta) -> None:
        """Record that these bytes are deleted but more may arrive: due again ``after`` this."""
        await checkpoint()
        blob = self._doomed(key)
        if blob is not None:
            self.blobs[key] = blob_rules.schedule_recheck(blob, self._clock.now(), after)

    async def reschedule(self, key: str, why: str) -> Blob | None:
        """Record that deleting failed. Returns the row; None if it is gone."""
        await checkpoint()
        blob = self._doomed(key)
        if blob is not None:
            blob = self.blobs[key] = blob_rules.reschedule(blob, self._clock.now(), why)
        return blob

    async def remove_blob(self, key: str) -> Image | None:
        """Record that these bytes are deleted. Returns the image that this deleted, if any."""
        await checkpoint()
        return self._remove_blob(key)

    async def remove_blobs(self, keys: Collection[str]) -> Collection[str]:
        """Record that these bytes are deleted; returns none, because nothing is ever locked."""
        await checkpoint()
        for key in keys:
            self._remove_blob(key)
        return ()

    def _remove_blob(self, key: str) -> Image | None:
        blob = self._doomed(key)
        if blob is None:
            return None
        del self.blobs[key]
        self.block_checksums.pop(key, None)
        if blob.awaited_by is None:
            return None
        before = self.images[blob.awaited_by]
        now = self._clock.now()
        after = ledger.settle_scrubbed(before, key, now)
        self.images[after.id] = after
        self._add_entry(before, after, now)
        return after if after.status is not before.status else None

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """Doom bytes that have no row in the ledger. Returns whether they had none."""
        await checkpoint()
        if location.key in self.blobs:
            return False
        due_at = self._clock.now() + quarantine
        self.blobs[location.key] = ledger.doomed_stray(location, due_at)
        return True

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """Every key of the ledger in this store with this prefix."""
        await checkpoint()
        return {blob.key for blob in self._stored(store, prefix)}

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """Those of the keys whose bytes are complete and referenced."""
        await checkpoint()
        stored = self._stored(store, prefix)
        return {blob.key for blob in stored if blob.state is BlobState.KEPT}

    # leases

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Renew the leases of these claims; returns the claims that still exist."""
        await checkpoint()
        now = self._clock.now()
        standing = {claim for claim in claims if claim in self.leases}
        for claim in standing:
            _, lapsed = self.leases[claim]
            self.leases[claim] = (now + claim.lease, lapsed)
        return standing

    async def find_lapsed(self, limit: int) -> Sequence[HeldClaim]:
        """Claims whose leases expired, the longest first; of one instant, by token."""
        await checkpoint()
        by_token = sorted(self.leases.values(), key=lambda lease: lease[1].claim.token)
        due = self._due(by_token, lambda lease: lease[0])
        latest = self._clock.now() + CLOCK_TOLERANCE
        ahead = [lease for lease in by_token if lease[0] - lease[1].claim.lease > latest]
        ahead.sort(key=lambda lease: lease[0])
        return [lapsed for _, lapsed in (*due, *ahead)][:limit]

    async def find_held(self, holder: InstanceId, limit: int) -> Sequence[HeldClaim]:
        """The claims of one holder, by token."""
        await checkpoint()
        held = [one for _, one in self.leases.values() if one.claim.owner == holder]
        return sorted(held, key=lambda one: one.claim.token)[:limit]

    async def list_attempts(self) -> Collection[UUID]:
        """The tokens of all claims."""
        await checkpoint()
        return {claim.token for claim in self.leases}

    # the whole catalog

    async def redate(self, quarantine: timedelta) -> int:
        """Reset timestamps that lie further ahead than their delay or patience explains."""
        await checkpoint()
        now = self._clock.now()
        count = (
            redate_records(self.images, lambda image: redate_image(image, now))
            + redate_records(self.tasks, lambda task: redate_task(task, now))
            + redate_records(self.blobs, lambda blob: redate_blob(blob, now, quarantine))
            + redate_records(self.outbox, lambda waiting: redate_event(waiting, now))
            + redate_records(self.instances, lambda one: redate_instance(one, now))
        )
        for image in self.images.values():
            if image.task is not None:
                self.images[image.id] = replace(image, task=self.tasks[image.task.id])
        return count

    async def summarize(self) -> Summary:
        """Count everything in one transaction."""
        await checkpoint()
        return Summary(
            at=self._clock.now(),
            instances=[self.instances[name] for name in sorted(self.instances)],
            held_images=memory_summary.held_images(self.images, self.leases),
            images=memory_summary.images(self.images.values()),
            blob_usage=memory_summary.blob_usage(self.blobs.values()),
            restorable=len(restorable := memory_summary.restorable(self.images.values())),
            restorable_bytes=sum(one.content.size_bytes for one in restorable if one.content),
            restorable_since=restorable[0].since if restorable else None,
            oldest_due_at=memory_summary.oldest_due_at(self.blobs.values()),
            oldest=memory_summary.oldest(self.images.values()),
            tasks=memory_summary.tasks(self.tasks.values()),
            held_tasks=memory_summary.held_tasks(self.tasks, self.images, self.leases),
            damaged=sum(map(is_damaged, self.images.values())),
            damaged_images=memory_summary.damaged_images(self.images.values()),
            warnings=warnings_of(self.places.values()),
            outbox=self._count_events(),
        )

    def _doomed(self, key: str) -> Blob | None:
        blob = self.blobs.get(key)
        return blob if blob is not None and blob.state is BlobState.DOOMED else None

    def _stored(self, store: str, prefix: str) -> list[Blob]:
        return [
            blob
            for blob in self.blobs.values()
            if blob.store == store and blob.key.startswith(prefix)
        ]
